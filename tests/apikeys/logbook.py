"""The portal's log, read back."""

import io
import json
import logging
from typing import Any

from keyportal.logs import JSONFormatter, logging_config


class Logbook:
    """One JSON event per line, through the formatter of the settings."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        formatter = logging_config(level="INFO")["formatters"]["json"]
        self.handler = logging.StreamHandler(self._stream)
        self.handler.setFormatter(
            JSONFormatter(foreign_pre_chain=formatter["foreign_pre_chain"], processors=formatter["processors"])
        )

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of this name, oldest first."""
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in lines if line["event"] == name]
