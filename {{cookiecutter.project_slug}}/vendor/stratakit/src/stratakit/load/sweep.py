"""Scalability of a service: closed phases with more and more users, and the knee of the curve.

The knee is where throughput per ms of p95 is greatest, Kleinrock's power (Power and deterministic
rules of thumb for probabilistic problems in computer communications, ICC 1979). Up to it users add
throughput, beyond it they wait for each other. It needs no fitted model, and six points are enough,
since on both sides power falls with the ratio of users.

Standard library only.
"""

from collections.abc import Sequence
from typing import Any

from ..errors import ConfigurationError

LEAST = 3
"""Minimum number of points to find a knee."""


def steps(text: str) -> tuple[int, ...]:
    """Return the numbers of users given to `--sweep`.

    Raises:
        ConfigurationError: they are not numbers, too few, or not increasing.
    """
    words = text.split(",")
    numbers = tuple(int(word) for word in words if word.strip().isdecimal())
    if (
        len(numbers) < max(LEAST, len(words))
        or list(numbers) != sorted({*numbers})
        or not numbers[0]
    ):
        raise ConfigurationError(
            f"--sweep {text} is not a list of at least {LEAST} rising numbers of users",
            "for example: --sweep 1,2,5,10,20,50",
        )
    return numbers


def result(phases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the result of the phases, in the format of `sweep` in load.json."""
    points = [
        (each["users"], each["requests_per_second"], (each["latency_ms"]["p95"] or {}).get("value"))
        for each in phases
    ]
    return {"points": [*map(list, points)], "knee": knee(points)}


def knee(points: Sequence[tuple[int, float, float | None]]) -> int | None:
    """Return the number of users with the greatest power.

    None if that is the last one, since the knee lies beyond it, or if p95 is known for too few
    points.
    """
    power = {users: rate / p95 for users, rate, p95 in points if p95}
    best = max(power, key=lambda users: power[users], default=None)
    if len(power) < LEAST or best == max(power):
        return None
    return best
