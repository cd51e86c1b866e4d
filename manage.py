#!/usr/bin/env python
"""Run a management command of keyportal."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keyportal.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A setting that cannot be: the sentence says what to do, and a traceback would bury it.
        sys.exit(f"keyportal is not configured: {error}")


if __name__ == "__main__":
    main()
