"""Baselines: runs saved under a name, and the check whether figures differ from them beyond noise.

The intervals of one run cover the scatter of its samples, not that of runs. So a baseline keeps the
figures of several runs, and a figure has changed if its interval lies outside the range of theirs:
the more runs are saved, the fewer false alarms there are.

They are in reports/baselines/SERVICE/NAME.json, which no run of a tier touches and git ignores.

Standard library only.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from .. import results
from ..binomial import interval
from ..errors import ConfigurationError, did_you_mean
from ..pyproject import REPORTS

FOLDER = REPORTS / "baselines"
RUNS = 10
"""Number of runs that a baseline keeps: the newest."""
BATCHES = 10
_T = 2.262
"""Student's t for 95 % with BATCHES - 1 degrees of freedom."""


class Figure(NamedTuple):
    """A measured value of a run, with its confidence interval."""

    value: float
    low: float
    high: float


def save(service: str, name: str, phases: Sequence[dict[str, Any]]) -> Path:
    """Add the figures of a run to a baseline, and return its file.

    Raises:
        ConfigurationError: as in `saved`.
    """
    kept = saved(service, name)
    rates = [phase["rate"] for phase in phases if phase["rate"]]
    run = {"rate": rates[-1] if rates else None, "figures": figures(phases)}
    file = _file(service, name)
    results.write(file, json.dumps({"runs": [*kept, run][-RUNS:]}, indent=1) + "\n")
    return file


def saved(service: str, name: str) -> list[dict[str, Any]]:
    """Return the runs saved under a name, oldest first; none for a new name.

    Raises:
        ConfigurationError: the name is not valid, or its file cannot be read.
    """
    file = _file(service, name)
    if not file.exists():
        return []
    try:
        runs: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error!r}", f"to start over: rm {file}"
        ) from error
    return runs


def rate(service: str, name: str) -> float | None:
    """Return the arrivals per second of a baseline's newest run, since latencies depend on it.

    Raises:
        ConfigurationError: no run has been saved under the name.
    """
    found: float | None = _load(service, name)[-1]["rate"]
    return found


def compare(service: str, name: str, phases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the changes since a baseline, in the format of `baseline` in load.json.

    Raises:
        ConfigurationError: no run has been saved under the name, or none with these phases.
    """
    kept = [run["figures"] for run in _load(service, name)]
    changes = []
    for what, now in figures(phases).items():
        before = [Figure(*run[what]) for run in kept if what in run]
        if not before:
            continue
        low, high = min(each.low for each in before), max(each.high for each in before)
        changes.append(
            {
                "what": what,
                "before": median(each.value for each in before),
                "now": now.value,
                "beyond_noise": now.low > high or now.high < low,
            }
        )
    if not changes:
        raise ConfigurationError(
            f"the runs that are saved as {name} have no figure in common with this one",
            "run with the same options: the same -u, and as many requests",
        )
    return {"name": name, "changes": changes}


def figures(phases: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """Return the comparable figures of a run, by phase, users and name."""
    return {
        f"{phase['name']}, {phase['users']} users: {what}": figure
        for phase in phases
        for what, figure in _figures(phase)
    }


def _figures(phase: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    for key in ("latency_ms", "ttft_ms", "itl_ms"):
        for name, found in (phase[key] or {}).items():
            if found:
                yield f"{name} {key}", Figure(found["value"], found["low"], found["high"])
    errors, requests = phase["errors"], phase["requests"]
    if requests:
        yield "error_rate", Figure(errors / requests, *interval(errors, requests))
    # The throughput of open arrivals is an input, not a result.
    throughput = _throughput(phase) if phase["kind"] == "closed" else None
    if throughput:
        yield "requests_per_second", throughput


def _throughput(phase: dict[str, Any]) -> Figure | None:
    """Return the requests per second with an interval; None for a phase of a few seconds.

    Uses batch means (Law, Simulation Modeling and Analysis, section 9.5.3): consecutive seconds are
    correlated, means of longer periods are not.
    """
    length = math.floor(phase["seconds"]) // BATCHES
    answered = [requests - errors for _, requests, errors, _ in phase["series"]]
    if length < 1 or len(answered) < length * BATCHES:
        return None
    means = [fmean(answered[at : at + length]) for at in range(0, length * BATCHES, length)]
    half = _T * stdev(means) / math.sqrt(BATCHES)
    return Figure(fmean(means), fmean(means) - half, fmean(means) + half)


def _file(service: str, name: str) -> Path:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ConfigurationError(
            f"no run can be saved as {name!r}",
            "use letters, digits, `.`, `_` and `-`, for example: --save main",
        )
    return FOLDER / service / f"{name}.json"


def _load(service: str, name: str) -> list[dict[str, Any]]:
    runs = saved(service, name)
    if not runs:
        there = sorted(each.stem for each in (FOLDER / service).glob("*.json"))
        hint = f'save one: uv run nox -s "load({service})" -- --save {name}'
        raise ConfigurationError(
            f"no run of {service} is saved as {name}; saved are: {', '.join(there) or 'none'}",
            did_you_mean(name, there, hint),
        )
    return runs
