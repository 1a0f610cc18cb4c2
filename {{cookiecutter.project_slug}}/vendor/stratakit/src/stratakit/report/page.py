"""HTML page of a run: a single file with the data as JSON, the script and the style sheet.

Standard library only. Test output never becomes markup: the script inserts it as text, and `<` is
escaped in the JSON.
"""

import base64
import hashlib
import html
import json
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

from .. import pyproject, results, tiers
from . import history
from .history import Record, title

HERE = Path(__file__).parent
ERRORS = 1_000_000
"""Maximum characters of all errors together."""
LONGEST_ERROR, LONGEST_NAME = 10_000, 300
"""Maximum characters of one error, from its end, which says what was wrong, and of a name."""
POINTS = 500
"""Maximum points of a series."""
SLOWEST, LISTED = 15, 50
"""Maximum rows in the list of slowest tests, and in any other list."""


def render(data: dict[str, Any]) -> str:
    """Return the page that shows `data`."""
    style = _read("uplot/uPlot.min.css") + _read("page.css")
    script = "".join(map(_read, ("uplot/uPlot.iife.min.js", "load.js", "page.js")))
    return Template(_read("page.html")).substitute(
        title=html.escape(f"{data['project']}: {data['meaning']}"),
        script_hash=_hash(script),
        style_hash=_hash(style),
        style=style,
        # ASCII only, so that it has no line separators or lone surrogates.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        script=script,
    )


def data(
    summary: dict[str, Any], meaning: str, before: Sequence[Record], folder: Path
) -> dict[str, Any]:
    """Return the page's data from a run, the runs before it, and the reports in `folder`."""
    now = Record("now", summary)
    records = [*before, now]
    change = asdict(history.difference(before, now))
    return {
        **summary,
        "project": pyproject.table()["project"],
        "meaning": meaning,
        "tiers": [*_tiers(summary)],
        "tests": [*_tests(summary["tests"])],
        "slowest": _slowest(summary["tests"]),
        "change": {key: each[:LISTED] for key, each in change.items()} if before else None,
        "flaky": [asdict(each) for each in history.flaky(records)[:LISTED]],
        "slowing": [asdict(each) for each in history.slowing(records)[:LISTED]],
        "coverage_html": (folder / tiers.COVERAGE.name / "index.html").is_file(),
        "load": [*_left(summary["tiers"], folder, "load")],
        "cloud": next(_left(summary["tiers"], folder, "cloud"), None),
    }


def command(test: dict[str, Any]) -> str:
    """Return the command that reruns a test, alone if possible, else its session."""
    tier = {each.name: each for each in tiers.sessions()}[test["tier"]]
    words = f'uv run nox -s "{title({**test, "python": None})}"'
    if test["python"]:
        words += f" -P {shlex.quote(test['python'])}"
    # A name that is not printable or too long to read is replaced by all parameters of the test.
    for name in (test["name"], test["name"].partition("[")[0]):
        if name.isprintable() and len(name) <= LONGEST_NAME:
            if tier.paths and ".py" in name:
                return f"{words} -- {shlex.quote(name)}"
            if tier.name == "static":
                return f"{words} -- --only {shlex.quote(name)}"
    return words


def _tiers(summary: dict[str, Any]) -> Iterator[dict[str, Any]]:
    budgets = {each.name: each.budget for each in tiers.sessions()}
    counts = Counter((title(each), each["status"]) for each in summary["tests"])
    for tier in summary["tiers"]:
        session = title(tier)
        count = {each: counts[session, each] for each in ("passed", "failed", "skipped")}
        yield {**tier, "session": session, "budget": budgets.get(tier["name"]), "counts": count}


def _tests(tests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield each test with only the fields that the page uses: there may be thousands."""
    failed = sum(test["status"] == "failed" for test in tests)
    room = min(LONGEST_ERROR, ERRORS // max(1, failed))
    for test in tests:
        shown = {key: test[key] for key in ("tier", "service", "status", "duration")}
        shown |= {"name": _cut(test["name"]), "session": title(test)}
        if error := test["error"]:
            shown["error"] = error if len(error) <= room else f"…{error[-room:]}"
        if test["status"] == "failed":
            shown["command"] = command(test)
        if test["metrics"]:
            shown["metrics"] = test["metrics"]
        yield shown


def _slowest(tests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tests with the highest share of their budgets, then the slowest without one."""
    there = {each.name: each for each in tiers.sessions() if each.paths}
    found = []
    for test in tests:
        tier = there.get(test["tier"])
        budget = tiers.budget_of(tier, test["name"]) if tier else None
        shown = {"name": _cut(test["name"]), "session": title(test), "budget": budget}
        found.append({**shown, "duration": test["duration"]})

    def rank(each: dict[str, Any]) -> tuple[bool, float]:
        return not each["budget"], -each["duration"] / (each["budget"] or 1)

    return sorted((each for each in found if each["duration"]), key=rank)[:SLOWEST]


def _left(parts: list[dict[str, Any]], folder: Path, tier: str) -> Iterator[Any]:
    """Yield the content of TIER.json in each part of this run."""
    for part in parts:
        name = results.folder(part["name"], part["service"], part["python"])
        file = folder / name / f"{tier}.json"
        if part["name"] == tier and (found := results.read(file)):
            yield _thinned(found)


def _thinned(value: Any) -> Any:
    """Return JSON with long lists thinned out evenly: a chart has only so many pixels."""
    if isinstance(value, dict):
        return {key: _thinned(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_thinned(each) for each in value[:: 1 + len(value) // POINTS]]
    return value


def _cut(text: str) -> str:
    """Return a name, with its middle cut out if it is too long."""
    half = LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME else f"{text[:half]}…{text[-half:]}"


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash source of a script or style for the content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
