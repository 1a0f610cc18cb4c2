"""How long the requests of a test took: percentiles, metrics of its row in the summary."""

import math
import time
from collections.abc import Sequence
from typing import Any, TypeVar

Client = TypeVar("Client", bound=Any)

PERCENTILES = (50, 95, 99)
_BEGUN = "stratakit.begun"
_taken: list[float] = []


def timed(client: Client) -> Client:
    """Time the requests of a client of httpx2, each until the head of its response is there.

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
    """Return how many requests were timed since the last call, and their percentiles, if any."""
    taken = [*_taken]
    _taken.clear()
    return {"requests": len(taken), **percentiles(taken)} if taken else {}


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return exact percentiles by the nearest rank, in milliseconds."""
    ordered = sorted(seconds)
    ranks = {each: math.ceil(len(ordered) * each / 100) - 1 for each in PERCENTILES}
    return {f"p{each}_ms": round(1000 * ordered[rank], 3) for each, rank in ranks.items()}
