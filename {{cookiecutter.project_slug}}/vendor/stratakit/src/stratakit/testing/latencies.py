"""Request latencies of a test: percentiles, as metrics of its row in the summary."""

import math
import time
from collections.abc import Sequence
from typing import Any, TypeVar

Client = TypeVar("Client", bound=Any)

PERCENTILES = (50, 95, 99)
_BEGUN = "stratakit.begun"
_taken: list[float] = []


def timed(client: Client) -> Client:
    """Time the requests of an httpx2 client, each until the response headers arrive.

    Args:
        client: an `AsyncClient`.

    Returns:
        The same client.
    """

    async def begin(request: Any) -> None:
        request.extensions[_BEGUN] = time.perf_counter()

    async def end(response: Any) -> None:
        _taken.append(time.perf_counter() - response.request.extensions[_BEGUN])

    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks["request"], begin],
        "response": [*hooks["response"], end],
    }
    return client


def take() -> dict[str, float]:
    """Return the number and percentiles of the requests since the last call, if there were any."""
    taken = [*_taken]
    _taken.clear()
    return {"requests": len(taken), **percentiles(taken)} if taken else {}


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return exact nearest-rank percentiles, in milliseconds."""
    ordered = sorted(seconds)
    ranks = {each: math.ceil(len(ordered) * each / 100) - 1 for each in PERCENTILES}
    return {f"p{each}_ms": round(1000 * ordered[rank], 3) for each, rank in ranks.items()}
