"""How a service scales: closed phases at more and more users, and where more of them gain nothing.

The knee is where throughput for each ms of p95 is greatest, Kleinrock's power (Power and
deterministic rules of thumb for probabilistic problems in computer communications, ICC 1979). Up to
it users add throughput, beyond it they wait for each other. It needs no fitted model, and six
points are enough, since at both of its sides power falls with the ratio of users.

Standard library only.
"""

from collections.abc import Sequence
from typing import Any

from ..errors import ConfigurationError

LEAST = 3
"""Points that it takes to see a knee."""


def steps(text: str) -> tuple[int, ...]:
    """Return the numbers of users that `--sweep` names.

    Raises:
        ConfigurationError: these are no numbers, too few, or they do not grow.
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
    """Return what came of the phases, in the shape of `sweep` in load.json."""
    points = [
        (each["users"], each["requests_per_second"], (each["latency_ms"]["p95"] or {}).get("value"))
        for each in phases
    ]
    return {"points": [*map(list, points)], "knee": knee(points)}


def knee(points: Sequence[tuple[int, float, float | None]]) -> int | None:
    """Return at how many users power is greatest.

    None if that is at the last of them, since the knee is beyond it, or where p95 is known of too
    few.
    """
    power = {users: rate / p95 for users, rate, p95 in points if p95}
    best = max(power, key=lambda users: power[users], default=None)
    if len(power) < LEAST or best == max(power):
        return None
    return best
