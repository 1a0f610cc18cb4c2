"""Statistics of a phase: exact percentiles with confidence intervals, and errors separately.

Percentiles are computed from all samples, by nearest rank, not from a histogram. Their intervals
are distribution-free (`binomial.quantile_ranks`); they assume independent samples, and so do not
cover differences between runs, for which `baseline` keeps several.

Standard library only.
"""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ..binomial import CONFIDENCE, quantile_ranks
from .samples import ITL, REQUEST, TTFT, PhaseRun

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
CPU_LIMIT = 0.9
"""Share of a core above which a generator is too slow in everything: Locust's own limit."""
_POINTS = 40
"""Number of points of a curve, and of bars of a histogram."""
_TOO_FEW = math.log((1 - CONFIDENCE) / 2)
"""Logarithm of the largest chance of no sample beyond a percentile that still has an interval."""


def percentile(ordered: Sequence[float], q: float) -> float:
    """Return the quantile `q` of sorted samples, at least one: the value at the nearest rank.

    Hyndman and Fan, Sample Quantiles in Statistical Packages (1996), definition 1.
    """
    # Subtract the possible rounding error, so that 0.95 of 100 is the 95th.
    rank = math.ceil(len(ordered) * q - 1e-9)
    return ordered[max(rank, 1) - 1]


def percentile_interval(ordered: Sequence[float], q: float) -> tuple[float, float, float] | None:
    """Return the quantile `q` of sorted samples, and its confidence interval (95 %).

    None if there are too few samples for that: fewer than 72 for q = 0.95, 368 for 0.99.
    """
    ranks = quantile_ranks(len(ordered), q)
    if ranks is None:
        return None
    low, high = ranks
    return percentile(ordered, q), ordered[low - 1], ordered[high - 1]


def summarise(  # noqa: PLR0913 - each is a fact of its own that only the caller knows
    name: str,
    kind: str,
    run: PhaseRun,
    *,
    users: int,
    rate: float | None = None,
    late_limit_ms: float = math.inf,
) -> dict[str, Any]:
    """Return the summary of a phase, in the format of an entry of `phases` in load.json.

    Latencies and throughput only include successful requests: a service that refuses fast is not a
    fast one. `rate` is the number of open arrivals per second; None for closed phases. If the
    generator was later than `late_limit_ms`, the phase says nothing about the service.
    """
    times: dict[str, list[float]] = defaultdict(list)
    named: dict[str, tuple[list[float], Counter[str]]] = defaultdict(lambda: ([], Counter()))
    seconds: dict[int, tuple[list[float], list[str]]] = defaultdict(lambda: ([], []))
    errors = 0
    for started, latency, request, timed, error in run.samples:
        good, bad = named[request if timed == REQUEST else f"{request} ({timed})"]
        if error is None:
            good.append(latency)
            times[timed].append(latency)
        else:
            bad[error] += 1
        if timed == REQUEST:
            passed, failed = seconds[math.floor(started)]
            if error is None:
                passed.append(latency)
            else:
                failed.append(error)
                errors += 1
    for each in times.values():
        each.sort()
    requests = len(times[REQUEST]) + errors
    # The first token of each stream, and all following ones.
    tokens = len(times[TTFT]) + len(times[ITL])
    generator = run.generator
    return {
        "name": name,
        "kind": kind,
        "users": users,
        "rate": rate,
        "seconds": round(run.seconds, 3),
        "requests": requests,
        "errors": errors,
        "error_rate": errors / requests if requests else 0.0,
        "requests_per_second": round(len(times[REQUEST]) / run.seconds, 3),
        "latency_ms": _percentiles(times[REQUEST]),
        "ttft_ms": _percentiles(times[TTFT]) if times[TTFT] else None,
        "itl_ms": _percentiles(times[ITL]) if times[ITL] else None,
        "tokens_per_second": round(tokens / run.seconds, 3) if tokens else None,
        "curve": _curve(times[REQUEST]),
        "histogram": _histogram(times[REQUEST]),
        "series": [
            _second(second, *seconds[second]) for second in range(max(seconds, default=-1) + 1)
        ],
        "by_name": [_by_name(each, *found) for each, found in sorted(named.items())],
        "generator": {
            "late_p99_ms": round(generator.late_p99_ms, 3),
            "cpu": round(generator.cpu, 3),
            "limited": generator.late_p99_ms > late_limit_ms or generator.cpu > CPU_LIMIT,
        },
    }


def _percentiles(ordered: Sequence[float]) -> dict[str, dict[str, float] | None]:
    return {
        name: dict(zip(("value", "low", "high"), (round(each, 3) for each in found), strict=True))
        if (found := percentile_interval(ordered, q))
        else None
        for name, q in PERCENTILES.items()
    }


def _curve(ordered: Sequence[float]) -> list[list[float]]:
    """Return [percentile, ms, low, high] from the 10th to the last that has an interval.

    The points are evenly spaced on an axis of one in N requests, which spreads out the slowest.
    """
    # (1 - 1 / N) to the power of the count is the chance that all samples lie below the point.
    last = math.expm1(_TOO_FEW / len(ordered)) if ordered else -1.0
    first = 0.1 - 1
    points = []
    for index in range(_POINTS):
        q = 1 + first * (last / first) ** (index / (_POINTS - 1))
        if found := percentile_interval(ordered, q):
            points.append([round(100 * q, 4), *(round(each, 3) for each in found)])
    return points


def _histogram(ordered: Sequence[float]) -> list[list[float]]:
    """Return [upper limit in ms, count] of bars that are equally wide on a logarithmic axis."""
    if not ordered or ordered[0] == ordered[-1]:
        return [[round(ordered[0], 3), len(ordered)]] if ordered else []
    low, high = max(ordered[0], 1e-3), max(ordered[-1], 1e-3)
    limits = [low * (high / low) ** (index / _POINTS) for index in range(1, _POINTS)]
    below = [0, *(bisect_left(ordered, limit) for limit in limits), len(ordered)]
    counts = [after - before for before, after in pairwise(below)]
    bars = zip([*limits, high], counts, strict=True)
    return [[round(limit, 3), count] for limit, count in bars]


def _second(second: int, passed: list[float], failed: list[str]) -> list[float | None]:
    """Return [second, requests, errors, p95 in ms or None]."""
    p95 = round(percentile(sorted(passed), PERCENTILES["p95"]), 3) if passed else None
    return [second, len(passed) + len(failed), len(failed), p95]


def _by_name(name: str, good: list[float], messages: Counter[str]) -> dict[str, Any]:
    """Return the summary of one name's requests; a percentile of too few samples is None."""
    found = _percentiles(sorted(good))
    values = {f"{key}_ms": each and each["value"] for key, each in found.items()}
    errors = messages.total()
    shown = {"messages": dict(messages.most_common())}
    return {"name": name, "requests": len(good) + errors, "errors": errors, **values, **shown}
