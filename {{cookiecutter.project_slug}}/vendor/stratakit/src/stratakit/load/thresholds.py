"""What a load test has to reach, as pyproject.toml says, and whether it did.

`[tool.stratakit.load]` of the project holds for every service; `[tool.stratakit.service.load]` of a
service wins over it, key by key. A threshold is written as k6 has it: p95_latency_ms = "<500".

Standard library only.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any, NamedTuple

from .. import project, pyproject
from ..errors import ConfigurationError
from ..pyproject import ROOT, refuse_unknown

HOSTS = "hosts"
"""The key of the hosts besides this machine that `--host` may name."""
TABLE, SERVICE_TABLE = "tool.stratakit.load", "tool.stratakit.service.load"

_COMPARE: dict[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_BOUND = re.compile(r"\s*([<>]=?)\s*(\d+(?:\.\d+)?)\s*")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
_LATENESS = 0.1
"""The share of the bound of p95 by which requests may be late before a run tells nothing."""


class _Metric(NamedTuple):
    """A figure that may have a bound: where an entry of `phases` has it, and what is good."""

    path: tuple[str, ...]
    phase: str = "open"
    """The kind of phase that is asked, if there was one: else the other."""
    low_is_good: bool = True
    most: float | None = None
    """The greatest bound that has a meaning."""


METRICS = {
    **{
        f"{prefix}{name}{suffix}": _Metric((key, name, "value"))
        for prefix, suffix, key in (
            ("", "_latency_ms", "latency_ms"),
            ("ttft_", "_ms", "ttft_ms"),
            ("itl_", "_ms", "itl_ms"),
        )
        for name in ("p50", "p95", "p99")
    },
    # Of the worst phase: nothing is gained by errors at a rate that nobody judges.
    "error_rate": _Metric(("error_rate",), phase="", most=1),
    "requests_per_second": _Metric(("requests_per_second",), "closed", low_is_good=False),
    "tokens_per_second": _Metric(("tokens_per_second",), "closed", low_is_good=False),
}
DEFAULTS = {"error_rate": "<0.01"}
"""What holds where neither table says otherwise."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound of one figure."""

    name: str
    bound: str
    """As it stands in pyproject.toml."""

    @property
    def limit(self) -> float:
        """The number in it."""
        return float(self._parts[1])

    def holds(self, value: float) -> bool:
        """Return whether a value is on the right side of it."""
        return _COMPARE[self._parts[0]](value, self.limit)

    @property
    def _parts(self) -> tuple[str, str]:
        found = _BOUND.fullmatch(self.bound)
        assert found  # noqa: S101 - `load` refuses what is not written so
        return found[1], found[2]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the two tables say of the load test of a service."""

    thresholds: tuple[Threshold, ...]
    hosts: tuple[str, ...] = ()
    """The allow list of `--host`."""

    @property
    def late_limit_ms(self) -> float:
        """By how much the generator may be late: a tenth of the bound of p95, else no limit."""
        limits = [each.limit for each in self.thresholds if each.name == "p95_latency_ms"]
        return limits[0] * _LATENESS if limits else float("inf")


def load(service: project.Service) -> Settings:
    """Return the settings of the load test of a service.

    Raises:
        ConfigurationError: a key is not known, or its value means nothing.
    """
    file = service.path / "pyproject.toml"
    tables = (
        (f"[{TABLE}] of pyproject.toml", pyproject.table().get("load", {})),
        (
            f"[{SERVICE_TABLE}] of {file.relative_to(ROOT).as_posix()}",
            pyproject.tool(file, "stratakit")["service"].get("load", {}),
        ),
    )
    return parse(tables)


def parse(tables: Iterable[tuple[str, Any]]) -> Settings:
    """Return what tables say of which the latter win, each with the place where it stands.

    Raises:
        ConfigurationError: a key is not known, or its value means nothing.
    """
    found: dict[str, Any] = dict(DEFAULTS)
    for where, table in tables:
        if not isinstance(table, dict):
            raise ConfigurationError(
                f"{where} is {table!r}, not a table",
                f'write, for example: [{TABLE}] p95_latency_ms = "<500"',
            )
        refuse_unknown(table, (*METRICS, HOSTS), where)
        for key, value in table.items():
            if key == HOSTS:
                _refuse_hosts(value, where)
            else:
                _refuse_bound(key, value, where)
        found |= table
    hosts = tuple(each.lower() for each in found.pop(HOSTS, ()))
    return Settings(tuple(Threshold(*each) for each in found.items()), hosts)


def judge(settings: Settings, phases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return whether each threshold was reached, in the shape of `thresholds` in load.json.

    Latencies are those of the open phase, throughput is that of the closed one, and errors are
    those of the worst; where there is no such phase, of the last. A figure that nothing was
    measured of, or too little, has no value and is missed: it was asked for. Without phases
    there is nothing to judge.
    """
    return [_judge(each, METRICS[each.name], phases) for each in settings.thresholds if phases]


def message(row: dict[str, Any]) -> str | None:
    """Return what to say of a threshold that was missed; None of one that was reached."""
    if row["passed"]:
        return None
    if row["value"] is None:
        why = "it has no or too few samples; a longer run has more: -t 2m"
        return f"{row['name']} is n/a, {row['bound']} wanted: {why}"
    return f"{row['name']} is {row['value']:.4g}, {row['bound']} wanted (phase {row['phase']})"


def _judge(
    threshold: Threshold, metric: _Metric, phases: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    if metric.phase:
        phase = next(
            (each for each in reversed(phases) if each["kind"] == metric.phase), phases[-1]
        )
    else:
        phase = max(phases, key=lambda each: _value(each, metric) or 0)
    value = _value(phase, metric)
    return {
        "name": threshold.name,
        "bound": threshold.bound,
        "value": value,
        "passed": value is not None and threshold.holds(value),
        "phase": phase["name"],
    }


def _value(phase: dict[str, Any], metric: _Metric) -> float | None:
    found: Any = phase
    for key in metric.path:
        found = found and found[key]
    value: float | None = found
    return value


def _refuse_bound(name: str, value: Any, where: str) -> None:
    """Refuse what is not a bound, and one from the wrong side, which nobody means."""
    metric = METRICS[name]
    found = _BOUND.fullmatch(value) if isinstance(value, str) else None
    number = re.search(r"\d+(\.\d+)?", str(value))
    side = "<" if metric.low_is_good else ">"
    limit = float(number[0]) if number else 0.01 if metric.most else 100
    if metric.most and limit > metric.most:
        problem, limit = "is not a share from 0 to 1", min(limit / 100, metric.most)
    elif found and found[1][0] != side:
        problem = f"is the wrong way round: {'less' if metric.low_is_good else 'more'} is better"
    elif not found:
        problem = "is not a bound"
    else:
        return
    raise ConfigurationError(
        f"{name} = {value!r} in {where} {problem}",
        f'write, for example: {name} = "{side}{limit:g}"',
    )


def _refuse_hosts(value: Any, where: str) -> None:
    """Refuse what is not a list of host names: with a scheme or a port, none would ever match."""
    good = isinstance(value, list) and all(
        isinstance(each, str) and _HOST.fullmatch(each) for each in value
    )
    if not good:
        raise ConfigurationError(
            f"{HOSTS} = {value!r} in {where} is not a list of host names",
            f'without scheme and port, for example: {HOSTS} = ["staging.example.org"]',
        )
