"""What answers have in common: JSON, and headers that tell of a team's quota."""

import json

from fastapi.responses import JSONResponse

from .. import domain
from ..ports import Admission

_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(value: object) -> bytes:
    """Return a value as JSON.

    In ASCII: what clients send and models make may hold half a surrogate pair, not UTF-8.
    """
    return _encode(value).encode("ascii")


class JsonResponse(JSONResponse):
    """An answer that is a value."""

    def render(self, content: object) -> bytes:
        """Return its body."""
        return encode(content)


def quota_headers(limits: domain.Limits, admission: Admission) -> dict[str, str]:
    """Return the headers of OpenAI's API after a request was counted, or refused."""
    return {
        "x-ratelimit-limit-requests": str(limits.requests),
        "x-ratelimit-limit-tokens": str(limits.tokens),
        "x-ratelimit-remaining-requests": str(admission.requests_left),
        "x-ratelimit-remaining-tokens": str(admission.tokens_left),
        "x-ratelimit-reset-requests": f"{admission.requests_reset:.3f}s",
        "x-ratelimit-reset-tokens": f"{admission.tokens_reset:.3f}s",
    }
