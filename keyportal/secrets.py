"""Secrets that an installation makes for itself on its first start."""

import os
import secrets
from pathlib import Path


def read_or_make(path: Path) -> str:
    """Return the secret kept in a file, making the file (mode 0600) if it is not there yet.

    Two processes that start together get the same secret: the file appears whole, by a hard link
    that only one of them can make.

    :raises OSError: if the directory cannot be written.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A name of its own: what a process of the same id left behind when it was killed must not stop this one.
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)
        except FileExistsError:
            # The other process won; its secret is the installation's secret.
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()
