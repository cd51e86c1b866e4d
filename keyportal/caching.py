"""What the shared cache holds in Redis: JSON, which can do no more than be wrong."""

import json
from typing import Any


class JsonSerializer:
    """Values of the cache as text; a number is stored as one, so that Redis can count with it."""

    def dumps(self, value: Any) -> Any:
        return value if type(value) is int else json.dumps(value)

    def loads(self, data: bytes) -> Any:
        return json.loads(data)
