"""Leak detection under load: memory, descriptors and connections of all processes of a service.

Each is sampled repeatedly, and the first third is discarded, in which caches and pools fill. The
slope of the rest is the Theil-Sen estimator, the median of the slopes between all pairs, which is
robust against outliers. It counts as growth if the Mann-Kendall test finds a trend, if it appears
in both halves, and if the gain exceeds that of a healthy service (`WATCHED`). Gilbert, Statistical
Methods for Environmental Pollution Monitoring (1987), chapters 16 and 17.
"""

import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from statistics import NormalDist, median
from typing import Any

import psutil

from ..errors import ConfigurationError
from ..servers import KINDS, Kind, Server

WATCHED = {"memory_mb": 8.0, "descriptors": 10.0, "connections": 10.0}
"""Watched figures, and the gain allowed over the evaluated time. Smaller gains come from the
allocator, or from pools that are not full yet; a longer run finds smaller leaks."""
SHORTEST = 30.0
"""Minimum seconds of a run; in a shorter one the service may still be starting."""

_WARM_UP = 1 / 3
_BLOCKS = 20
"""Number of medians to compare, instead of samples, whose neighbours are correlated."""
_SURE = 0.999
_HOUR = 3600
_MB = 1e6
_DESCRIPTORS = "num_handles" if psutil.WINDOWS else "num_fds"


class Watch:
    """Time series of some processes and their descendants."""

    def __init__(self, roots: Mapping[str, int]) -> None:
        self.roots = roots
        self.series: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def sample(self, at: float) -> None:
        """Sample all processes, `at` seconds after the start."""
        for name, number in self.roots.items():
            try:
                root = psutil.Process(number)
                tree = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                # Its exit is reported elsewhere, by its parent.
                continue
            found: Counter[str] = Counter()
            for process in tree:
                found.update(_look(process))
            for what, value in found.items():
                self.series[name, what].append((at, float(value)))

    def result(self, seconds: float) -> dict[str, Any]:
        """Return the result, in the format of `soak` in load.json."""
        return {
            "seconds": round(seconds, 1),
            "series": {
                f"{name}: {what}": [[round(at, 1), round(value, 2)] for at, value in points]
                for (name, what), points in self.series.items()
            },
            "slopes": [
                {"process": name, "what": what, **judge(points, WATCHED[what])}
                for (name, what), points in self.series.items()
                # Servers keep the data written to them, so their memory may grow.
                if not (name in KINDS and what == "memory_mb")
            ],
        }


@contextmanager
def watching(roots: Mapping[str, int], seconds: float) -> Iterator[Watch]:
    """Sample processes, by name, and their descendants while the block runs for `seconds`.

    Raises:
        ConfigurationError: that is too short to tell a leak from a start.
    """
    if seconds < SHORTEST:
        raise ConfigurationError(
            f"--soak {seconds:g}s is too short to tell a leak from a start",
            f"at least {SHORTEST:g} seconds, for example: --soak 10m",
        )
    watch, over, start = Watch(roots), threading.Event(), time.monotonic()

    def look() -> None:
        while not over.wait(max(seconds / 300, 0.5)):
            watch.sample(time.monotonic() - start)

    thread = threading.Thread(target=look, name="soak", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def servers(taken: Mapping[Kind, Server]) -> dict[str, int]:
    """Return the process ids of our servers that run directly on this machine."""
    if not any(each.source == "embedded" for each in taken.values()):
        return {}
    # Imported late: not available on Windows.
    from ..servers import embedded

    found = {kind: embedded.find_running(kind) for kind in taken}
    return {kind: each.process for kind, each in found.items() if each}


def judge(points: Sequence[tuple[float, float]], least: float) -> dict[str, Any]:
    """Return the slope of a series per hour, its limit, and whether it stays within that.

    `least` is the gain allowed over the evaluated time.
    """
    end = points[-1][0]
    blocks = _blocks([each for each in points if each[0] >= end * _WARM_UP])
    slope, limit = _slope(blocks), least / (end * (1 - _WARM_UP)) if end else math.inf
    # A single step, or growth that levels off, appears in only one half.
    middle = len(blocks) // 2
    steady = min(_slope(blocks[:middle]), _slope(blocks[middle:])) > limit / 2
    grows = slope > limit and steady and _trend([value for _, value in blocks]) > _SURE
    return {
        "per_hour": round(slope * _HOUR, 1),
        "limit": round(limit * _HOUR, 1),
        "passed": not grows,
    }


def message(slope: Mapping[str, Any]) -> str | None:
    """Return the message for a series that has grown; None for one that has not."""
    if slope["passed"]:
        return None
    what = slope["what"].replace("memory_mb", "MB of memory")
    return (
        f"{slope['process']} leaks: it gains {slope['per_hour']:g} {what} an hour,"
        f" at most {slope['limit']:g} are noise"
    )


def _look(process: psutil.Process) -> dict[str, float]:
    """Return a process's resources; nothing if it has exited, or we lack permission."""
    try:
        with process.oneshot():
            memory = process.memory_info()
            # Shared pages would count once per process, as PostgreSQL's cache in each backend.
            shared = getattr(memory, "shared", 0)
            return {
                "memory_mb": (memory.rss - shared) / _MB,
                "descriptors": getattr(process, _DESCRIPTORS)(),
                "connections": len(process.net_connections("all")),
            }
    except psutil.Error:
        return {}


def _blocks(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the medians of up to `_BLOCKS` or so equally long parts, in order."""
    size = max(1, len(points) // _BLOCKS)
    parts = [points[at : at + size] for at in range(0, len(points) - size + 1, size)]
    return [(median(at for at, _ in part), median(v for _, v in part)) for part in parts]


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the growth of a series per second, by the Theil-Sen estimator."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2)]
    return median(slopes) if slopes else 0.0


def _trend(values: Sequence[float]) -> float:
    """Return the confidence that values grow: Mann-Kendall test, one-sided, corrected for ties."""
    count = len(values)
    score = sum((b > a) - (b < a) for a, b in combinations(values, 2))
    ties = sum(each * (each - 1) * (2 * each + 5) for each in Counter(values).values())
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    return NormalDist().cdf((score - 1) / math.sqrt(variance)) if variance else 0.0
