"""What it means that an image cannot be built."""

from .. import environment
from ..errors import InfrastructureError, StrataError

OUTSIDE = (
    "connection refused",
    "could not resolve",
    "error sending request",
    "failed to fetch",
    "failed to resolve source metadata",
    "i/o timeout",
    "name resolution",
    "network is unreachable",
    "newconnectionerror",
    "no space left",
    "no such host",
    "pull access denied",
    "tls handshake",
)
"""What a build says, in lower case, that fails through no fault of the code or the Dockerfile."""
TAIL = 30
"""Lines of a failed build that are shown."""


class BuildError(StrataError):
    """An image cannot be built: the code or the Dockerfile is at fault."""


def diagnose(output: str) -> StrataError:
    """Return what it means that `docker compose build` failed and printed `output`."""
    last = "\n".join(output.strip().splitlines()[-TAIL:])
    if "needs to be updated" in output:
        return environment.diagnose(output)
    if any(sign in output.lower() for sign in OUTSIDE):
        return InfrastructureError(
            f"an image cannot be built, for what it needs cannot be had:\n{last}",
            "see whether the registry and the package index answer and the disk has room; "
            "STRATA_SERVERS=embedded does without images",
        )
    return BuildError(f"an image cannot be built:\n{last}", "fix what it says, then run it again")
