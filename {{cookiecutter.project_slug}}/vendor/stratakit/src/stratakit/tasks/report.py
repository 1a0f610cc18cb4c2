"""`invoke report.*`: the last run of nox as a page or as Markdown; comparison of runs."""

import webbrowser
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context

from ..errors import ConfigurationError, InfrastructureError, did_you_mean
from ..pyproject import REPORTS
from ..report import HISTORY, PAGE, history
from ..report.history import Record, title
from . import console
from .executor import task

MOST = 20
"""Maximum number of failures: GitHub does not show a summary that is too long."""
LONGEST = 2000
"""Maximum characters of an error, from its end, which says what was wrong."""


@task(name="open")
def open_page(_: Context) -> None:
    """Open the page of the last nox run in the browser."""
    page = REPORTS / PAGE
    if not page.exists():
        raise InfrastructureError(
            f"there is no reports/{PAGE}: no run of nox has finished", "uv run nox"
        )
    opened = webbrowser.open(page.as_uri())
    console.say(page.as_uri() if opened else f"no browser found; open {page.as_uri()}")


_RUN = "a run that report.history lists, `last`, `previous`, or a summary.json"


@task(positional=["before", "now"], help={"before": _RUN, "now": _RUN})
def compare(_: Context, before: str, now: str) -> None:
    """Compare two nox runs: tests that newly fail, are fixed or slower, and the times of tiers."""
    records = history.load(REPORTS / HISTORY)
    old, new = (_record(name, records) for name in (before, now))
    found = history.difference([old], new)
    tests = (("newly failing", found.newly_failing), ("fixed", found.fixed))
    rows = [(what, session, "", "", name) for what, keys in tests for session, name in keys]
    rows += [("slower", each.session, *_seconds(each), each.name) for each in found.slower]
    rows += [("tier", each.session, *_seconds(each), "") for each in found.tiers]
    console.say(console.table(("what", "session", old.name, new.name, "test"), rows))


@task(name="history")
def list_runs(_: Context) -> None:
    """List the nox runs that are kept, and the tests that are flaky or get slower."""
    records = history.load(REPORTS / HISTORY)
    if not records:
        raise InfrastructureError(f"no run is kept in reports/{HISTORY}", "uv run nox")
    console.say(console.table(_COLUMNS, [_row(each) for each in records]))
    for each in history.flaky(records):
        runs = f"{each.failed} of {each.passed + each.failed} runs"
        console.say(f"FLAKY {each.session}: {each.name} failed in {runs} of the same code")
    for slow in history.slowing(records):
        before, now = _seconds(slow)
        console.say(f"SLOWING {slow.session}: {slow.name}: {before} -> {now}")


_COLUMNS = ("run", "exit", "passed", "failed", "skipped", "seconds", "tiers", "source")


def _row(record: Record) -> tuple[object, ...]:
    summary = record.summary
    counts = [summary["summary"][each] for each in ("passed", "failed", "skipped")]
    seconds = f"{summary['summary']['duration_seconds']:.1f}"
    names = ", ".join(dict.fromkeys(each["name"] for each in summary["tiers"]))
    source = summary.get("source") or "-"
    return (record.name, summary["exit_code"], *counts, seconds, names, source)


def _record(name: str, records: list[Record]) -> Record:
    """Return a run by its name, or from a file.

    Raises:
        ConfigurationError: there is no such run, or the file is not a summary.
    """
    names = {each.name: each for each in records}
    names |= dict(zip(("last", "previous"), reversed(records), strict=False))
    if name in names:
        return names[name]
    if Path(name).is_file():
        return history.read(Path(name))
    raise ConfigurationError(
        f"no run is kept as {name!r}, and there is no such file",
        did_you_mean(name, names, "uv run invoke report.history"),
    )


def _seconds(each: history.Change) -> tuple[str, str]:
    return f"{each.before:.2f} s", f"{each.now:.2f} s"


@task()
def show(_: Context) -> None:
    """Print the results of the last nox run as Markdown."""
    file = REPORTS / "summary.json"
    if not file.exists():
        raise InfrastructureError(
            "there is no reports/summary.json: no run of nox has finished", "uv run nox"
        )
    summary = history.read(file).summary
    console.say("\n".join(["", *_tiers(summary), *_failures(summary), *_absent(summary)]))


def _tiers(summary: dict[str, Any]) -> Iterator[str]:
    yield "| tier | service or library | result | passed | failed | skipped | seconds |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: |"
    for tier in summary["tiers"]:
        statuses = [test["status"] for test in summary["tests"] if title(test) == title(tier)]
        counts = [str(statuses.count(each)) for each in ("passed", "failed", "skipped")]
        seconds = f"{tier['duration_seconds']:.1f}"
        name = title({**tier, "service": None})
        yield f"| {' | '.join([name, tier['service'] or '-', tier['status'], *counts, seconds])} |"
    for tier in summary["tiers"]:
        if tier["reason"]:
            yield f"\n{title(tier)}: {_quoted(tier['reason'])}"


def _failures(summary: dict[str, Any]) -> Iterator[str]:
    failed = [test for test in summary["tests"] if test["status"] == "failed"]
    for test in failed[:MOST]:
        error = _quoted((test["error"] or "")[-LONGEST:])
        name = f"{title(test)}: {escape(test['name'])}"
        yield f"\n<details><summary>{name}</summary>\n\n{error}\n\n</details>"
    if len(failed) > MOST:
        yield f"\nand {len(failed) - MOST} more, see reports/summary.json"


def _absent(summary: dict[str, Any]) -> Iterator[str]:
    for tier in summary["tiers"]:
        for part in tier["absent"]:
            yield f"\n{title(tier)}: ABSENT {part['name']}: {escape(part['reason'])}"


def _quoted(text: str) -> str:
    """Return text as a preformatted block, with Markdown and HTML escaped."""
    return f"<pre>{escape(text)}</pre>"


report = Collection("report", open_page, show, compare, list_runs)
