"""Results of a load test: summary rows, exit code, and a table to print."""

import sys
from collections.abc import Mapping
from typing import Any

from ..errors import Code, InfrastructureError
from . import soak, thresholds

LIMITED = "generator-limited"
"""Label of a run without a verdict on the service, since the load generator could not keep up."""
_COLUMNS = (
    "phase",
    "users",
    "rate",
    "requests",
    "req/s",
    "p50",
    "p95",
    "p99",
    "errors",
    "ttft p95",
)


def results(report: dict[str, Any], *, strict: bool) -> tuple[dict[str, Any], Code, str | None]:
    """Return a load test's entry in the summary, its exit code, and the reason for that.

    Args:
        report: the measurements, in the format of load.json.
        strict: whether figures that are worse than the baseline beyond noise count as missed.
    """
    rows = [
        *(
            (
                f"{each['name']} {each['bound']}",
                thresholds.message(each),
                each["name"],
                each["value"],
            )
            for each in report["thresholds"]
        ),
        *(
            (f"{each['process']}: {each['what']}", soak.message(each), "per_hour", each["per_hour"])
            for each in (report["soak"] or {}).get("slopes", ())
        ),
        *(
            (f"{each['what']} as before", _worse(each), "now", each["now"])
            for each in (report["baseline"] or {}).get("changes", ())
            if strict
        ),
    ]
    limited = [each for each in report["phases"] if each["generator"]["limited"]]
    left = {
        "tests": [
            {
                "name": name,
                "status": "skipped" if limited else "failed" if missed else "passed",
                "duration": 0.0,
                "error": LIMITED if limited else missed,
                "metrics": {} if value is None else {metric: value},
            }
            for name, missed, metric, value in rows
        ],
        # The steps of a sweep are not the load that the service has to handle.
        "load_test": None if report["sweep"] else _load_test(report["phases"]),
    }
    if limited:
        how = "; ".join(
            f"{each['name']}: late by {each['generator']['late_p99_ms']:.0f} ms (p99),"
            f" {each['generator']['cpu']:.0%} of a core"
            for each in limited
        )
        error = InfrastructureError(
            f"{LIMITED}: the load generator could not keep up ({how}), so the run says nothing"
            " about the service",
            "run it on a less busy machine, with fewer users or a lower --rate, or --processes 2",
        )
        return left, error.code, str(error)
    missed = [text for _, text, *_ in rows if text]
    if missed:
        return left, Code.FAILED, f"{len(missed)} missed: {'; '.join(missed)}"
    return left, Code.PASSED, None


def _worse(change: Mapping[str, Any]) -> str | None:
    """Return the message for a figure that is worse beyond noise, else None."""
    more_is_better = change["what"].endswith("_per_second")
    worse = (change["now"] < change["before"]) == more_is_better
    return _changed(change) if change["beyond_noise"] and worse else None


def _changed(change: Mapping[str, Any]) -> str:
    return f"{change['what']} is {change['now']:.4g}, and was {change['before']:.4g}"


def _load_test(phases: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return the figures of the summary: throughput of the first phase, latencies of the last."""
    return {
        "requests_per_second": phases[0]["requests_per_second"],
        **{
            f"{name}_latency_ms": found and found["value"]
            for name, found in phases[-1]["latency_ms"].items()
        },
        "error_rate": max(each["error_rate"] for each in phases),
    }


def show(report: dict[str, Any]) -> None:
    """Print a table of the phases, and all other results."""
    rows = [_COLUMNS, *map(_row, report["phases"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    lines += [
        f"{each['name']}: {name['name']}: {count} times {text}"
        for each in report["phases"]
        for name in each["by_name"]
        for text, count in name["messages"].items()
    ]
    if report["sweep"]:
        knee = report["sweep"]["knee"]
        lines.append(f"the knee is at {knee} users" if knee else "no knee among these")
    lines += [
        f"{_changed(each)}{', beyond the noise' if each['beyond_noise'] else ''}"
        for each in (report["baseline"] or {}).get("changes", ())
    ]
    lines += [
        f"{each['process']}: {each['what']} {each['per_hour']:+g} an hour, limit {each['limit']:g}"
        for each in (report["soak"] or {}).get("slopes", ())
    ]
    said = f"{report['target']}; latencies in ms, rate in tasks a second"
    if ceiling := report["ceiling"]:
        rate = ceiling["requests_per_second"]
        said += f"; with a server that does nothing, the generator reaches {rate:.0f} req/s"
    lines.append(said)
    sys.stdout.write("\n".join(lines) + "\n")


def _row(phase: dict[str, Any]) -> tuple[str, ...]:
    return (
        *(phase["name"], str(phase["users"]), f"{phase['rate']:.1f}" if phase["rate"] else "-"),
        *(str(phase["requests"]), f"{phase['requests_per_second']:.1f}"),
        *(_ms(phase["latency_ms"][name]) for name in ("p50", "p95", "p99")),
        f"{phase['error_rate']:.2%}",
        _ms(phase["ttft_ms"]["p95"]) if phase["ttft_ms"] else "-",
    )


def _ms(found: dict[str, float] | None) -> str:
    return f"{found['value']:.1f}" if found else "n/a"
