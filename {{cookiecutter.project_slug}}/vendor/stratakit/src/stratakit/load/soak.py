"""Whether a service grows under load: memory, descriptors and connections of all its processes.

Each is looked at again and again, and the first third is left out, in which caches and pools fill.
Of the rest, the slope is Theil and Sen's, the median of the slopes between all pairs, which a few
outliers do not move. It is growth if Mann and Kendall's test finds a trend, if both halves have a
part in it, and if more was gained than a service that is well may gain (`WATCHED`). Gilbert,
Statistical Methods for Environmental Pollution Monitoring (1987), chapters 16 and 17.
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
"""What is looked at, and how much of it may be gained over the time that is judged. Less is what an
allocator keeps, or a pool that is not full yet; a longer run finds smaller leaks."""
SHORTEST = 30.0
"""Seconds, below which a start is not over when the run is."""

_WARM_UP = 1 / 3
_BLOCKS = 20
"""How many medians are compared: neighbouring samples resemble each other."""
_SURE = 0.999
_HOUR = 3600
_MB = 1e6
_DESCRIPTORS = "num_handles" if psutil.WINDOWS else "num_fds"


class Watch:
    """What was seen of some processes and of their descendants."""

    def __init__(self, roots: Mapping[str, int]) -> None:
        self.roots = roots
        self.series: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def sample(self, at: float) -> None:
        """Look at all processes, `at` seconds after the start."""
        for name, number in self.roots.items():
            try:
                root = psutil.Process(number)
                tree = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                # Whoever has started it says that it has gone.
                continue
            found: Counter[str] = Counter()
            for process in tree:
                found.update(_look(process))
            for what, value in found.items():
                self.series[name, what].append((at, float(value)))

    def result(self, seconds: float) -> dict[str, Any]:
        """Return what came of it, in the shape of `soak` in load.json."""
        return {
            "seconds": round(seconds, 1),
            "series": {
                f"{name}: {what}": [[round(at, 1), round(value, 2)] for at, value in points]
                for (name, what), points in self.series.items()
            },
            "slopes": [
                {"process": name, "what": what, **judge(points, WATCHED[what])}
                for (name, what), points in self.series.items()
                # What is written to a server it is to keep.
                if not (name in KINDS and what == "memory_mb")
            ],
        }


@contextmanager
def watching(roots: Mapping[str, int], seconds: float) -> Iterator[Watch]:
    """Look at processes, by name, and at their descendants while the block runs for `seconds`.

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
    """Return the processes of the servers that are ours, and run on this machine's kernel."""
    if not any(each.source == "embedded" for each in taken.values()):
        return {}
    # Not there on Windows.
    from ..servers import embedded

    found = {kind: embedded.find_running(kind) for kind in taken}
    return {kind: each.process for kind, each in found.items() if each}


def judge(points: Sequence[tuple[float, float]], least: float) -> dict[str, Any]:
    """Return the slope of a series per hour, its limit, and whether it does not grow beyond that.

    `least` is what may be gained over the time that is judged.
    """
    end = points[-1][0]
    blocks = _blocks([each for each in points if each[0] >= end * _WARM_UP])
    slope, limit = _slope(blocks), least / (end * (1 - _WARM_UP)) if end else math.inf
    # A step, or what levels off, is in one half alone.
    middle = len(blocks) // 2
    steady = min(_slope(blocks[:middle]), _slope(blocks[middle:])) > limit / 2
    grows = slope > limit and steady and _trend([value for _, value in blocks]) > _SURE
    return {
        "per_hour": round(slope * _HOUR, 1),
        "limit": round(limit * _HOUR, 1),
        "passed": not grows,
    }


def message(slope: Mapping[str, Any]) -> str | None:
    """Return what to say of a series that has grown; None of one that has not."""
    if slope["passed"]:
        return None
    what = slope["what"].replace("memory_mb", "MB of memory")
    return (
        f"{slope['process']} leaks: it gains {slope['per_hour']:g} {what} an hour,"
        f" at most {slope['limit']:g} are noise"
    )


def _look(process: psutil.Process) -> dict[str, float]:
    """Return what a process takes; nothing of one that has ended, or is not ours to look at."""
    try:
        with process.oneshot():
            memory = process.memory_info()
            # Pages that others have as well count for each: PostgreSQL's cache for each backend.
            shared = getattr(memory, "shared", 0)
            return {
                "memory_mb": (memory.rss - shared) / _MB,
                "descriptors": getattr(process, _DESCRIPTORS)(),
                "connections": len(process.net_connections("all")),
            }
    except psutil.Error:
        return {}


def _blocks(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the medians of as many equally long parts as there can be, in order."""
    size = max(1, len(points) // _BLOCKS)
    parts = [points[at : at + size] for at in range(0, len(points) - size + 1, size)]
    return [(median(at for at, _ in part), median(v for _, v in part)) for part in parts]


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Return by how much a series grows in a second: Theil and Sen."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2)]
    return median(slopes) if slopes else 0.0


def _trend(values: Sequence[float]) -> float:
    """Return how sure it is that values grow: Mann and Kendall, one-sided, corrected for ties."""
    count = len(values)
    score = sum((b > a) - (b < a) for a, b in combinations(values, 2))
    ties = sum(each * (each - 1) * (2 * each + 5) for each in Counter(values).values())
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    return NormalDist().cdf((score - 1) / math.sqrt(variance)) if variance else 0.0
