"""Statistics of a load test: exact, with intervals that hold, and none without enough samples."""

import math
import random
from collections.abc import Callable, Iterable

import pytest

from stratakit import binomial
from stratakit.load import stats
from stratakit.load.samples import Generator, PhaseRun, Row, Samples

RUNS = 2_000
"""Number of simulated runs: one standard deviation of a coverage of 95 % is 0.5 %."""
DISTRIBUTIONS: dict[str, tuple[Callable[[random.Random], float], Callable[[float], float]]] = {
    # A function that draws a sample, and one that returns the true quantiles.
    "exponential": (lambda chance: chance.expovariate(1), lambda q: -math.log(1 - q)),
    "pareto": (lambda chance: chance.paretovariate(1.1), lambda q: (1 - q) ** (-1 / 1.1)),
    "uniform": (random.Random.random, lambda q: q),
}


GENERATOR = Generator(1.25, 0.4)


def run(rows: Iterable[Row], generator: Generator = GENERATOR) -> PhaseRun:
    return PhaseRun(Samples(rows), began=0.0, seconds=10.0, generator=generator, tasks=0)


def answered(*latencies: float, name: str = "GET /", kind: str = "request") -> list[Row]:
    return [(index / 10, float(each), name, kind, None) for index, each in enumerate(latencies)]


@pytest.mark.parametrize(
    ("samples", "q", "value"),
    [
        ([7.0], 0.5, 7),
        ([7.0], 0.99, 7),
        (range(1, 11), 0.5, 5),
        (range(1, 101), 0.95, 95),
        (range(1, 101), 0.951, 96),
        (range(1, 1001), 0.99, 990),
        (range(1, 1002), 0.99, 991),
        (range(1, 101), 1.0, 100),
        (range(1, 101), 0.0, 1),
    ],
)
def test_a_percentile_is_the_sample_at_the_nearest_rank(
    samples: list[float], q: float, value: float
) -> None:
    assert stats.percentile([*samples], q) == value


@pytest.mark.parametrize(("q", "least"), [(0.5, 6), (0.95, 72), (0.99, 368), (0.999, 3688)])
def test_a_percentile_with_too_few_samples_has_no_interval(q: float, least: int) -> None:
    assert stats.percentile_interval([*range(least - 1)], q) is None
    found = stats.percentile_interval([*range(least)], q)
    assert found
    value, low, high = found
    assert low <= value <= high == least - 1


@pytest.mark.parametrize(
    ("count", "q", "ranks"),
    # The ranks of R's `qbinom(c(.025, .975), n, q) + c(0, 1)`.
    [
        (600, 0.95, (559, 581)),
        (600, 0.99, (589, 599)),
        (3000, 0.99, (2959, 2981)),
        (6, 0.5, (1, 6)),
    ],
)
def test_quantile_ranks_match_the_binomial_distribution(
    count: int, q: float, ranks: tuple[int, int]
) -> None:
    assert binomial.quantile_ranks(count, q) == ranks


@pytest.mark.parametrize("shape", DISTRIBUTIONS)
@pytest.mark.parametrize(("q", "count"), [(0.5, 40), (0.95, 72), (0.95, 600), (0.99, 400)])
def test_the_interval_contains_the_true_percentile_as_often_as_claimed(
    shape: str, q: float, count: int
) -> None:
    chance = random.Random(f"{shape} {q} {count}")  # noqa: S311 - the same each time
    draw, quantile = DISTRIBUTIONS[shape]
    held = 0
    for _ in range(RUNS):
        found = stats.percentile_interval(sorted(draw(chance) for _ in range(count)), q)
        assert found
        held += found[1] <= quantile(q) <= found[2]
    # Few samples make the interval wider than necessary, never narrower.
    assert 0.935 <= held / RUNS <= 0.99


@pytest.mark.parametrize(
    ("hits", "count", "bound"),
    [(0, 50, 0.0582), (0, 300, 0.00994), (0, 1, 0.95), (1, 1530, 0.0031), (5, 5, 1.0)],
)
def test_the_upper_bound_of_a_rate_matches_known_values(
    hits: int, count: int, bound: float
) -> None:
    assert binomial.upper_bound(hits, count) == pytest.approx(bound, rel=0.01)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    # The intervals of R's binom.test.
    [(0, 10, 0, 0.3085), (10, 10, 0.6915, 1), (5, 10, 0.1871, 0.8129), (20, 2000, 0.00612, 0.0154)],
)
def test_the_interval_of_a_rate_is_the_exact_binomial_one(
    hits: int, count: int, low: float, high: float
) -> None:
    assert binomial.interval(hits, count) == pytest.approx((low, high), rel=0.01)


def test_quantile_ranks_of_a_million_samples_match_the_normal_approximation() -> None:
    low, high = binomial.quantile_ranks(1_000_000, 0.5) or (0, 0)
    # 1.96 standard deviations of 500 ranks each.
    assert (low, high) == pytest.approx((500_000 - 980, 500_000 + 980), abs=2)


def test_errors_are_counted_separately_and_excluded_from_latencies() -> None:
    rows = answered(*[10.0] * 100)
    rows += [(9.5, 60_000.0, "GET /", "request", "503")] * 20
    rows += [(9.6, 60_000.0, "POST /", "request", "timed out")] * 5
    phase = stats.summarise("closed", "closed", run(rows), users=3)
    assert (phase["requests"], phase["errors"], phase["error_rate"]) == (125, 25, 0.2)
    assert phase["requests_per_second"] == 10
    assert phase["latency_ms"]["p95"] == {"value": 10, "low": 10, "high": 10}
    assert phase["histogram"] == [[10, 100]]
    assert [(each["name"], each["errors"], each["messages"]) for each in phase["by_name"]] == [
        ("GET /", 20, {"503": 20}),
        ("POST /", 5, {"timed out": 5}),
    ]
    assert [row[:3] for row in phase["series"]] == [*([s, 10, 0] for s in range(9)), [9, 35, 25]]


def test_a_stream_counts_as_one_request_and_its_tokens_are_timed_separately() -> None:
    rows = answered(*[30.0] * 100, name="chat")
    rows += answered(*[8.0] * 100, name="chat", kind="ttft")
    rows += answered(*[2.0] * 900, name="chat", kind="itl")
    phase = stats.summarise("closed", "closed", run(rows), users=1)
    assert (phase["requests"], phase["requests_per_second"]) == (100, 10)
    assert phase["tokens_per_second"] == 100
    assert phase["ttft_ms"]["p95"]["value"] == 8
    assert phase["itl_ms"]["p99"]["value"] == 2
    assert [each["name"] for each in phase["by_name"]] == ["chat", "chat (itl)", "chat (ttft)"]


def test_figures_without_streams_or_with_too_few_samples_are_null() -> None:
    phase = stats.summarise("closed", "closed", run(answered(1, 2, 3)), users=1)
    assert (phase["ttft_ms"], phase["itl_ms"], phase["tokens_per_second"]) == (None, None, None)
    assert phase["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert phase["curve"] == []


def test_a_phase_without_requests_has_empty_figures() -> None:
    phase = stats.summarise("closed", "closed", run([]), users=1)
    assert (phase["requests"], phase["error_rate"], phase["histogram"]) == (0, 0, [])
    assert (phase["curve"], phase["series"], phase["by_name"]) == ([], [], [])


def test_a_second_without_requests_is_part_of_the_series() -> None:
    rows = [(0.1, 5.0, "a", "request", None), (2.9, 7.0, "a", "request", "reset")]
    phase = stats.summarise("closed", "closed", run(rows), users=1)
    assert phase["series"] == [[0, 1, 0, 5.0], [1, 0, 0, None], [2, 1, 1, None]]


def test_the_curve_stops_where_samples_are_too_few_and_the_histogram_has_them_all() -> None:
    chance = random.Random(7)  # noqa: S311 - the same each time
    phase = stats.summarise(
        *("open", "open", run(answered(*(chance.expovariate(0.1) for _ in range(5_000))))), users=1
    )
    percentiles, values, lows, highs = zip(*phase["curve"], strict=True)
    assert len(percentiles) == 40
    assert (percentiles[0], percentiles[-1]) == (10, pytest.approx(99.9263, abs=0.001))
    assert [*percentiles] == sorted(percentiles)
    assert [*values] == sorted(values)
    assert all(low <= value <= high for low, value, high in zip(lows, values, highs, strict=True))
    uppers, counts = zip(*phase["histogram"], strict=True)
    assert (len(counts), sum(counts)) == (40, 5_000)
    assert [*uppers] == sorted(uppers)


@pytest.mark.parametrize(
    ("generator", "limited"),
    [(Generator(49, 0.5), False), (Generator(51, 0.5), True), (Generator(1, 0.95), True)],
)
def test_a_load_generator_that_is_late_or_out_of_cpu_counts_as_limited(
    generator: Generator, limited: bool
) -> None:
    found = run(answered(1), generator)
    phase = stats.summarise("open", "open", found, users=1, rate=70, late_limit_ms=50)
    assert phase["generator"]["limited"] is limited
    assert phase["rate"] == 70
