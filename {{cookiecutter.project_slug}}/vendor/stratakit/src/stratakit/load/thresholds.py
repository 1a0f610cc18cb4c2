"""Thresholds of a load test: reading them from pyproject.toml, and checking them.

`[tool.stratakit.load]` of the project applies to every service; `[tool.stratakit.service.load]` of
a service overrides it, key by key. A threshold is written as in k6: p95_latency_ms = "<500".

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
"""Key with the hosts besides this machine that `--host` may name."""
TABLE, SERVICE_TABLE = "tool.stratakit.load", "tool.stratakit.service.load"

_COMPARE: dict[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_BOUND = re.compile(r"\s*([<>]=?)\s*(\d+(?:\.\d+)?)\s*")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
_LATENESS = 0.1
"""Allowed lateness of requests as a share of the p95 bound; beyond it, a run is meaningless."""


class _Metric(NamedTuple):
    """A figure that may have a bound: its path in an entry of `phases`, and its good direction."""

    path: tuple[str, ...]
    phase: str = "open"
    """Kind of phase to take it from, if there was one; else from the last phase."""
    low_is_good: bool = True
    most: float | None = None
    """Greatest bound that makes sense."""


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
    # From the worst phase, so that no phase can hide its errors.
    "error_rate": _Metric(("error_rate",), phase="", most=1),
    "requests_per_second": _Metric(("requests_per_second",), "closed", low_is_good=False),
    "tokens_per_second": _Metric(("tokens_per_second",), "closed", low_is_good=False),
}
DEFAULTS = {"error_rate": "<0.01"}
"""Default thresholds, which both tables override."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound for one figure."""

    name: str
    bound: str
    """Its spelling in pyproject.toml."""

    @property
    def limit(self) -> float:
        """Number in the bound."""
        return float(self._parts[1])

    def holds(self, value: float) -> bool:
        """Return whether a value satisfies the bound."""
        return _COMPARE[self._parts[0]](value, self.limit)

    @property
    def _parts(self) -> tuple[str, str]:
        found = _BOUND.fullmatch(self.bound)
        assert found  # noqa: S101 - `load` refuses invalid bounds
        return found[1], found[2]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a service's load test, from both tables."""

    thresholds: tuple[Threshold, ...]
    hosts: tuple[str, ...] = ()
    """Allow list of `--host`."""

    @property
    def late_limit_ms(self) -> float:
        """Maximum lateness of the generator: a tenth of the bound of p95, else no limit."""
        limits = [each.limit for each in self.thresholds if each.name == "p95_latency_ms"]
        return limits[0] * _LATENESS if limits else float("inf")


def load(service: project.Service) -> Settings:
    """Return the settings of the load test of a service.

    Raises:
        ConfigurationError: a key is unknown, or its value is invalid.
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
    """Return the settings in tables, each given with its location; later tables override earlier.

    Raises:
        ConfigurationError: a key is unknown, or its value is invalid.
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
    """Return whether each threshold was met, in the format of `thresholds` in load.json.

    Latencies are taken from the open phase, throughput from the closed one, and errors from the
    worst; without such a phase, from the last. A figure with no samples, or too few, has no value
    and counts as missed, since it was required. Without phases there is nothing to check.
    """
    return [_judge(each, METRICS[each.name], phases) for each in settings.thresholds if phases]


def message(row: dict[str, Any]) -> str | None:
    """Return the message for a threshold that was missed; None for one that was met."""
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
    """Refuse invalid bounds, and bounds in the wrong direction, which are surely mistakes."""
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
    """Refuse anything but a list of host names: with a scheme or a port, none would ever match."""
    good = isinstance(value, list) and all(
        isinstance(each, str) and _HOST.fullmatch(each) for each in value
    )
    if not good:
        raise ConfigurationError(
            f"{HOSTS} = {value!r} in {where} is not a list of host names",
            f'without scheme and port, for example: {HOSTS} = ["staging.example.org"]',
        )
