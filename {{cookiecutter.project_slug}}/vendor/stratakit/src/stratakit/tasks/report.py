"""`invoke report.*`: the results of the last run of nox, reports/summary.json, as Markdown."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from invoke.collection import Collection
from invoke.context import Context

from ..errors import ConfigurationError, InfrastructureError
from ..pyproject import REPORTS
from ..results import session_name
from . import console
from .executor import task

MOST = 20
"""How many failures are shown: GitHub does not show a page that is too long at all."""
LONGEST = 2000
"""How many characters of an error are shown: its end says what was wrong."""


@task()
def show(_: Context) -> None:
    """Print the results of the last nox run as Markdown."""
    try:
        summary = json.loads((REPORTS / "summary.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InfrastructureError(
            "there is no reports/summary.json: no run of nox has come to an end", "uv run nox"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"reports/summary.json cannot be read: {error}", "write it anew: uv run nox"
        ) from error
    console.say("\n".join(["", *_tiers(summary), *_failures(summary), *_absent(summary)]))


def _tiers(summary: dict[str, Any]) -> Iterator[str]:
    yield "| tier | service or library | result | passed | failed | skipped | seconds |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: |"
    for tier in summary["tiers"]:
        statuses = [test["status"] for test in summary["tests"] if _of(test) == _of(tier)]
        counts = [str(statuses.count(each)) for each in ("passed", "failed", "skipped")]
        seconds = f"{tier['duration_seconds']:.1f}"
        name = session_name(tier["name"], tier.get("python"))
        yield f"| {' | '.join([name, tier['service'] or '-', tier['status'], *counts, seconds])} |"
    for tier in summary["tiers"]:
        if tier["reason"]:
            yield f"\n{_title(tier)}: {_quoted(tier['reason'])}"


def _failures(summary: dict[str, Any]) -> Iterator[str]:
    failed = [test for test in summary["tests"] if test["status"] == "failed"]
    for test in failed[:MOST]:
        error = _quoted((test["error"] or "")[-LONGEST:])
        title = f"{_title(test)}: {escape(test['name'])}"
        yield f"\n<details><summary>{title}</summary>\n\n{error}\n\n</details>"
    if len(failed) > MOST:
        yield f"\nand {len(failed) - MOST} more, see reports/summary.json"


def _absent(summary: dict[str, Any]) -> Iterator[str]:
    for tier in summary["tiers"]:
        for part in tier["absent"]:
            yield f"\n{_title(tier)}: ABSENT {part['name']}: {escape(part['reason'])}"


def _of(each: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """Return the tier, the service and the Python of a tier or of a test."""
    return each.get("tier", each["name"]), each["service"], each.get("python")


def _title(each: dict[str, Any]) -> str:
    """Return what nox calls the session of a tier or of a test."""
    tier, service, python = _of(each)
    name = session_name(tier, python)
    return f"{name}({service})" if service else name


def _quoted(text: str) -> str:
    """Return text as it stands, whatever of Markdown is in it."""
    return f"<pre>{escape(text)}</pre>"


report = Collection("report", show)
