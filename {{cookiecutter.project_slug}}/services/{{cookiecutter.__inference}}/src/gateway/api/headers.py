"""Rate limit headers of a team."""

from .. import domain
from ..ports import Admission


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
