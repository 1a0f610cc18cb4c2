"""JSON in ASCII: what clients send and models make may hold half a surrogate pair, not UTF-8."""

import json

from fastapi.responses import JSONResponse

_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(value: object) -> bytes:
    """Return a value as JSON."""
    return _encode(value).encode("ascii")


class JsonResponse(JSONResponse):
    """An answer that is a value."""

    def render(self, content: object) -> bytes:
        """Return its body."""
        return encode(content)
