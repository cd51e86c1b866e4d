"""The WSGI application that gunicorn serves."""

import os

import django

from keyportal.handler import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keyportal.settings")

django.setup(set_prefix=False)
application = Handler()
