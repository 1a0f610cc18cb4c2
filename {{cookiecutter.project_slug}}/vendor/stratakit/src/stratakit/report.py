"""What came of the last run of nox, for people: reports/summary.json as Markdown."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from .errors import ConfigurationError, InfrastructureError
from .pyproject import REPORTS
from .results import session_name

MOST = 20
"""How many failures are told of: a page of CI that is too long is not shown at all."""
LONGEST = 2000
"""How many characters of an error are: its end says what was wrong."""


def last() -> dict[str, Any]:
    """Return the summary of the last run.

    Raises:
        ConfigurationError: it cannot be read.
        InfrastructureError: there is none.
    """
    file = REPORTS / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InfrastructureError(
            "there is no reports/summary.json: no run of nox has come to an end", "uv run nox"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"reports/summary.json cannot be read: {error}", "write it anew: uv run nox"
        ) from error
    return summary


def markdown(summary: dict[str, Any]) -> str:
    """Return a summary as Markdown: its tiers, then why they are as they are."""
    return "\n".join(["", *_tiers(summary), *_failures(summary), *_absent(summary)])


def _tiers(summary: dict[str, Any]) -> Iterator[str]:
    yield "| tier | service or library | result | passed | failed | skipped | seconds |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: |"
    for tier in summary["tiers"]:
        statuses = [test["status"] for test in summary["tests"] if _of(test) == _of(tier)]
        counts = [str(statuses.count(each)) for each in ("passed", "failed", "skipped")]
        seconds = f"{tier['duration_seconds']:.1f}"
        service = tier["service"] or "-"
        name = session_name(tier["name"], tier.get("python"))
        yield f"| {' | '.join([name, service, tier['status'], *counts, seconds])} |"
    for tier in summary["tiers"]:
        if tier["reason"]:
            yield f"\n{_name(tier)}: {_quoted(tier['reason'])}"


def _failures(summary: dict[str, Any]) -> Iterator[str]:
    failed = [test for test in summary["tests"] if test["status"] == "failed"]
    for test in failed[:MOST]:
        told = f"{_name({**test, 'name': test['tier']})}: {escape(test['name'])}"
        error = _quoted((test["error"] or "")[-LONGEST:])
        yield f"\n<details><summary>{told}</summary>\n\n{error}\n\n</details>"
    if len(failed) > MOST:
        yield f"\nand {len(failed) - MOST} more, see reports/summary.json"


def _absent(summary: dict[str, Any]) -> Iterator[str]:
    for tier in summary["tiers"]:
        for part in tier["absent"]:
            yield f"\n{_name(tier)}: ABSENT {part['name']}: {escape(part['reason'])}"


def _of(each: dict[str, Any]) -> tuple[str | None, ...]:
    """Return the tier, the service and the Python of a tier or of a test."""
    return each.get("tier", each["name"]), each["service"], each.get("python")


def _name(tier: dict[str, Any]) -> str:
    name = session_name(tier["name"], tier.get("python"))
    return f"{name}({tier['service']})" if tier["service"] else name


def _quoted(text: str) -> str:
    """Return text as it stands, whatever of Markdown is in it."""
    return f"<pre>{escape(text)}</pre>"
