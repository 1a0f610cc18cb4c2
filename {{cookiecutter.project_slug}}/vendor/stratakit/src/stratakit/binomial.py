"""Exact binomial intervals: ranks that bound a percentile, and confidence bounds for a rate.

Standard library only, and exact at every count: no normal approximation is used for the tails.
"""

import math

CONFIDENCE = 0.95
"""Default confidence level of an interval or a bound."""

_STEPS = 60
"""Bisection steps of the interval 0 to 1 that exhaust the precision of a float."""


def quantile_ranks(count: int, q: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """Return the ranks, from 1, of the two ordered samples between which the quantile `q` lies.

    Distribution-free: the number of independent samples below the quantile is binomial, whatever
    they measure. Each tail gets half of `1 - confidence`. None if there are too few samples to
    bound it from both sides: 72 are needed for the 95th percentile, 368 for the 99th.
    David and Nagaraja, Order Statistics, section 7.1.
    """
    tail = (1 - confidence) / 2
    low, high = _rank_below(count, q, tail), _rank_below(count, 1 - q, tail)
    return (low, count + 1 - high) if low and high else None


def interval(hits: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the confidence interval of the true rate, after `hits` of `count`.

    Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 26 (1934).
    """
    sure = (1 + confidence) / 2
    return 1 - upper_bound(count - hits, count, sure), upper_bound(hits, count, sure)


def upper_bound(hits: int, count: int, confidence: float = CONFIDENCE) -> float:
    """Return the upper confidence bound of the true rate, after `hits` of `count`.

    One-sided, also by Clopper and Pearson: none of 50 means a rate below 5.8 %, none of 300 one
    below 1 %.
    """
    if hits >= count:
        return 1.0
    low, high = hits / count, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _at_most(hits, count, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _rank_below(count: int, q: float, tail: float) -> int:
    """Return the highest rank whose sample exceeds the quantile with chance <= `tail`, or 0."""
    rank, chance = _first(count, q), 0.0
    while rank < count:
        chance += _exactly(rank, count, q)
        if chance > tail:
            break
        rank += 1
    return rank


def _at_most(hits: int, count: int, rate: float) -> float:
    """Return the probability of at most `hits` of `count`."""
    return math.fsum(_exactly(k, count, rate) for k in range(_first(count, rate), hits + 1))


def _exactly(hits: int, count: int, rate: float) -> float:
    """Return the probability of exactly `hits` of `count`."""
    if not 0 < rate < 1:
        return float(hits == count * rate)
    ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(ways + hits * math.log(rate) + (count - hits) * math.log1p(-rate))


def _first(count: int, rate: float) -> int:
    """Return where to start summing: lower terms are below the precision of a float."""
    spread = math.sqrt(count * rate * (1 - rate))
    return max(0, math.floor(count * rate - 10 * spread - 20))
