#!/usr/bin/env python
"""Run a management command of keyportal."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError, ProgrammingError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keyportal.settings")
    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, ProgrammingError) as error:
        sys.exit(
            f"The database cannot be used: {str(error).strip()}. `make run`, or `manage.py prepare`, brings it up to "
            "date; KEYPORTAL_DATA_DIR and DATABASE_URL say which it is."
        )
    except ImproperlyConfigured as error:
        # A setting that cannot be: the sentence says what to do, and a traceback would bury it.
        sys.exit(f"keyportal is not configured: {error}")


if __name__ == "__main__":
    main()
