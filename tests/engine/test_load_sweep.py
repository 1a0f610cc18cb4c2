"""Knee of a sweep, on noisy curves whose knee is known."""

import random
from collections.abc import Callable

import pytest

from stratakit.errors import ConfigurationError
from stratakit.load import sweep

USERS = (1, 2, 5, 10, 20, 50)
Curve = Callable[[int], tuple[float, float]]
"""Model of requests a second and p95 in ms for a number of users."""


def saturating(capacity: int, service_ms: float = 10) -> Curve:
    """Make a service that answers `capacity` users at once, and makes others wait."""

    def at(users: int) -> tuple[float, float]:
        waiting = max(users / capacity, 1)
        return 1000 / service_ms * min(users, capacity), service_ms * waiting

    return at


def usl(contention: float, coherence: float) -> Curve:
    """Make a service that follows Gunther's universal scalability law."""

    def at(users: int) -> tuple[float, float]:
        slowed = 1 + contention * (users - 1) + coherence * users * (users - 1)
        return 100 * users / slowed, 10 * slowed

    return at


def points(curve: Curve, noise: float = 0, seed: int = 0) -> list[tuple[int, float, float | None]]:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    return [
        (users, *(each * chance.uniform(1 - noise, 1 + noise) for each in curve(users)))
        for users in USERS
    ]


@pytest.mark.parametrize("capacity", [1, 2, 5, 10, 20])
@pytest.mark.parametrize("seed", range(20))
def test_the_knee_is_where_users_begin_to_wait(capacity: int, seed: int) -> None:
    assert sweep.knee(points(saturating(capacity), noise=0.15, seed=seed)) == capacity


@pytest.mark.parametrize("capacity", [50, 100])
def test_there_is_no_knee_if_the_largest_step_still_raises_the_throughput(capacity: int) -> None:
    assert sweep.knee(points(saturating(capacity), noise=0.1)) is None


@pytest.mark.parametrize(
    ("contention", "coherence", "knee"),
    # The power of the law, n / (1 + a(n-1) + bn(n-1))^2, is greatest near n = 1 / a.
    [(0.1, 0.0, 10), (0.2, 0.0, 5), (0.05, 0.0, 20), (0.0, 0.01, 5), (0.0, 0.001, 20)],
)
def test_the_knee_of_a_smooth_curve_is_where_throughput_over_latency_peaks(
    contention: float, coherence: float, knee: int
) -> None:
    assert sweep.knee(points(usl(contention, coherence))) == knee


def test_a_point_without_a_p95_is_left_out() -> None:
    known = points(saturating(10))
    known[1] = (2, 200.0, None)
    assert sweep.knee(known) == 10
    assert sweep.knee([(users, rate, None) for users, rate, _ in known]) is None
    assert sweep.knee([]) is None


def test_the_result_lists_the_measured_points_and_the_knee() -> None:
    phases = [
        {
            "users": users,
            "requests_per_second": rate,
            "latency_ms": {"p95": p95 and {"value": p95, "low": p95, "high": p95}},
        }
        for users, rate, p95 in [(1, 10.0, None), *points(saturating(5))[1:]]
    ]
    found = sweep.result(phases)
    assert found["points"][:2] == [[1, 10.0, None], [2, 200.0, 10.0]]
    assert found["knee"] == 5


def test_steps_are_parsed_as_a_list_of_numbers() -> None:
    assert sweep.steps("1, 2,5,10,20,50") == USERS


@pytest.mark.parametrize("text", ["", "5", "1,2", "2,1,5", "1,1,2", "0,1,2", "1,2,x", "1,2,,3"])
def test_invalid_steps_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        sweep.steps(text)
    assert "1,2,5,10,20,50" in refused.value.hint
