"""Common parts of responses: JSON, and the rate limit headers of a team."""

import json

from fastapi.responses import JSONResponse

from .. import domain
from ..ports import Admission

_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(value: object) -> bytes:
    """Return a value as JSON.

    As ASCII, since input and output may contain lone surrogates, which UTF-8 cannot encode.
    """
    return _encode(value).encode("ascii")


class JsonResponse(JSONResponse):
    """JSON response."""

    def render(self, content: object) -> bytes:
        """Return the body."""
        return encode(content)


def quota_headers(limits: domain.Limits, admission: Admission) -> dict[str, str]:
    """Return the rate limit headers of OpenAI's API for a request that was counted or refused."""
    return {
        "x-ratelimit-limit-requests": str(limits.requests),
        "x-ratelimit-limit-tokens": str(limits.tokens),
        "x-ratelimit-remaining-requests": str(admission.requests_left),
        "x-ratelimit-remaining-tokens": str(admission.tokens_left),
        "x-ratelimit-reset-requests": f"{admission.requests_reset:.3f}s",
        "x-ratelimit-reset-tokens": f"{admission.tokens_reset:.3f}s",
    }
