"""keyportal that records no use of a key: for measuring what the recording costs, and for nothing else."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keyportal.settings")
django.setup(set_prefix=False)

from audit import uses  # noqa: E402 - what follows needs the apps to be loaded


def _nothing(*_arguments: object, **_named: object) -> None:
    pass


# Before the middlewares are imported, which may take the function itself.
uses.record = _nothing

from keyportal.wsgi import application  # noqa: E402 - as above

__all__ = ["application"]
