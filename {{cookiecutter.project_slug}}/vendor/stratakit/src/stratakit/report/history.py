"""History of runs in reports/history/: comparison of runs, flaky tests, and slowing tests.

Standard library only, since each run of nox uses it at its end.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from .. import results
from ..errors import Code, ConfigurationError

KEPT = 30
"""Number of runs to keep."""
LONGEST = 2000
"""Number of characters to keep of an error, from its end, which says what was wrong."""
SLOWER, NOTICEABLE = 1.5, 0.1
"""Factor and seconds by which a slower test must exceed its former time."""
RECENT = 3
"""Number of consecutive runs in which a slowing test must be slower than before."""
Key = tuple[str, str]
"""Session and name of a test."""


@dataclass(frozen=True)
class Record:
    """A run in the history: its name and summary."""

    name: str
    summary: dict[str, Any]

    @cached_property
    def tests(self) -> dict[Key, dict[str, Any]]:
        """Tests that passed or failed on their own: not for lack of a server, nor interrupted."""
        judged = {
            title(tier)
            for tier in self.summary["tiers"]
            if tier["exit_code"] <= Code.FAILED and tier["status"] != "interrupted"
        }
        return {
            (session, test["name"]): test
            for test in self.summary["tests"]
            if (session := title(test)) in judged and test["status"] != "skipped"
        }


@dataclass(frozen=True, slots=True)
class Change:
    """Duration of a test or tier in seconds, in earlier runs and in a later one."""

    session: str
    name: str
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Differences between a run and the previous results of its tests and tiers."""

    newly_failing: list[Key]
    fixed: list[Key]
    slower: list[Change]
    tiers: list[Change]


@dataclass(frozen=True, slots=True)
class Flaky:
    """A test that has both passed and failed on the same code, and how often."""

    session: str
    name: str
    passed: int
    failed: int


def title(each: dict[str, Any]) -> str:
    """Return the name of the nox session of a tier or of a test."""
    name = results.session_name(each.get("tier", each["name"]), each.get("python"))
    return f"{name}({each['service']})" if each["service"] else name


def keep(summary: dict[str, Any], folder: Path) -> None:
    """Write a summary to the history's folder, and remove the oldest runs beyond `KEPT`."""
    name = "".join(filter(str.isdigit, summary["finished"]))
    taken = len([*folder.glob(f"{name}*.json")])
    tests = [{**each, "error": (each["error"] or "")[-LONGEST:]} for each in summary["tests"]]
    text = json.dumps({**summary, "tests": tests}, separators=(",", ":"))
    results.write(folder / f"{name}{f'-{taken + 1}' if taken else ''}.json", text)
    for old in _files(folder)[:-KEPT]:
        old.unlink(missing_ok=True)


def load(folder: Path) -> list[Record]:
    """Return the kept runs, oldest first; unreadable files are skipped."""
    found = []
    for file in _files(folder):
        with suppress(ConfigurationError):
            found.append(read(file))
    return found


def read(file: Path) -> Record:
    """Return the run in a file of the history, or in any other summary.json.

    Raises:
        ConfigurationError: the file is missing, or is not a summary.
    """
    try:
        record = Record(file.stem, json.loads(file.read_text(encoding="utf-8")))
        # Looked at now, so that an invalid summary is refused here.
        _ = record.tests, [title(each) for each in record.summary["tiers"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{file} cannot be read as the summary of a run: {error!r}",
            "uv run nox, which makes one; kept runs: uv run invoke report.history",
        ) from error
    return record


def difference(before: Iterable[Record], now: Record) -> Difference:
    """Compare each test and tier of a run with the last earlier run that has it."""
    tests: dict[Key, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    for record in before:
        tests.update(record.tests)
        seconds.update({title(each): each["duration_seconds"] for each in record.summary["tiers"]})
    newly_failing, fixed, slower = [], [], []
    for key, test in now.tests.items():
        old = tests.get(key)
        if test["status"] == "failed":
            if old is None or old["status"] == "passed":
                newly_failing.append(key)
        elif old and old["status"] == "failed":
            fixed.append(key)
        elif old and _is_slower(test["duration"], old["duration"]):
            slower.append(Change(*key, old["duration"], test["duration"]))
    slower.sort(key=lambda each: each.before - each.now)
    tiers = [
        Change(title(each), each["name"], seconds[title(each)], each["duration_seconds"])
        for each in now.summary["tiers"]
        if title(each) in seconds
    ]
    return Difference(newly_failing, fixed, slower, tiers)


def flaky(records: Iterable[Record]) -> list[Flaky]:
    """Return the tests that have both passed and failed on the same code."""
    counts: dict[Key, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if source := record.summary.get("source"):
            for key, test in record.tests.items():
                counts[key][source].append(test["status"])
    found = []
    for key, sources in counts.items():
        mixed = [status for each in sources.values() if len({*each}) > 1 for status in each]
        if mixed:
            found.append(Flaky(*key, mixed.count("passed"), mixed.count("failed")))
    return sorted(found, key=lambda each: (-each.failed, each.name))


def slowing(records: Iterable[Record]) -> list[Change]:
    """Return the tests that were slower in each of the last runs than in any before these."""
    durations: dict[Key, list[float]] = defaultdict(list)
    for record in records:
        for key, test in record.tests.items():
            if test["status"] == "passed":
                durations[key].append(test["duration"])
    found = []
    for key, each in durations.items():
        before, recent = each[:-RECENT], each[-RECENT:]
        if len(before) >= RECENT and min(recent) > max(before):
            usual = median(before)
            if _is_slower(min(recent), usual):
                found.append(Change(*key, usual, median(recent)))
    return sorted(found, key=lambda each: each.before - each.now)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"), key=lambda file: file.stem)


def _is_slower(now: float, before: float) -> bool:
    return now > SLOWER * before and now > before + NOTICEABLE
