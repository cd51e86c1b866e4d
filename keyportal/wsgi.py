"""The WSGI application that gunicorn serves."""

import os

import django
from django.urls import resolve

from keyportal.handler import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keyportal.settings")

django.setup(set_prefix=False)

from accounts.mailing import job  # noqa: E402 - models cannot be imported before the registry is ready
from apikeys import shared_budgets, shared_limits  # noqa: E402 - the same
from audit import uses  # noqa: E402 - the same

shared_budgets.start()
shared_limits.start()
uses.start()
job.start()
application = Handler()
# Before the fork, so that no worker's first request waits for every view to be imported, nor imports newer ones.
resolve("/v1/whoami")
