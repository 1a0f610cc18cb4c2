"""Detection of flaky tests: `nox -s flakes` runs the tiers in several rounds.

Each round has another order. A test that has both failed and passed is flaky, and fails the
session; failed tests are not rerun, since that would hide flakiness.

Standard library only, since noxfile.py imports it.
"""

import argparse
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from . import results, tiers
from .binomial import upper_bound
from .errors import Code, CommandLine
from .results import TierResult
from .tiers import Tier

HINT = "uv run nox -s flakes -- --times 50"
TIMES = 10
"""Default number of rounds."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options after `--`: the number of rounds, the first seed, and arguments for pytest."""

    times: int
    seed: int
    strict: bool
    pytest: tuple[str, ...]

    def words(self, number: int) -> tuple[str, ...]:
        """Return the arguments for pytest in a round, counted from 0."""
        return ("--seed", str(self.seed + number), "-q", *self.pytest)


def parse(words: Sequence[str]) -> Options:
    """Return the parsed options; unknown arguments are passed to pytest.

    Raises:
        ConfigurationError: the number of rounds or the seed is not a positive integer.
    """
    parser = CommandLine(HINT, prog="flakes", allow_abbrev=False, add_help=False)
    parser.add_argument("--times", type=_count, default=TIMES)
    parser.add_argument("--seed", type=_count, default=secrets.randbelow(1_000_000) + 1)
    parser.add_argument(results.STRICT, dest="strict", action="store_true")
    known, rest = parser.parse_known_args(words)
    return Options(known.times, known.seed, known.strict, tuple(rest))


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def tiers_of() -> tuple[Tier, ...]:
    """Return the tiers to run: the test tiers that plain nox runs."""
    return tuple(each for each in tiers.load() if each.default and not each.module)


@dataclass
class _Test:
    """Results of one test over all rounds."""

    title: str
    """Name of its nox session."""
    name: str
    budget: float | None
    passed: int = 0
    seeds: list[int] = field(default_factory=list)
    """Seeds of the rounds in which it failed."""
    error: str = ""
    durations: list[float] = field(default_factory=list)

    @property
    def flaky(self) -> bool:
        return bool(self.passed and self.seeds)


class Rounds:
    """Results of all rounds."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.count = 0
        self._tests: dict[tuple[str, str], _Test] = {}
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def add(self, parts: Sequence[TierResult]) -> None:
        """Add the results of a round."""
        seed = self.options.seed + self.count
        self.count += 1
        for part in parts:
            tier = tiers.tier(part.name)
            self._seconds[part.title].append(part.duration_seconds - part.setup_seconds)
            for row in part.tests:
                name = row["name"]
                budget = tiers.budget_of(tier, name)
                test = self._tests.setdefault((part.title, name), _Test(part.title, name, budget))
                test.durations.append(row["duration"])
                test.passed += row["status"] == "passed"
                if row["status"] == "failed":
                    test.seeds.append(seed)
                    test.error = test.error or row["error"] or ""

    def settle(self, part: TierResult) -> None:
        """Set the session's result: a row for all rounds, one per flaky test, and the reason."""
        flaky = [each for each in self._tests.values() if each.flaky]
        failed = len({seed for each in flaky for seed in each.seeds})
        rate, bound = failed / self.count, upper_bound(failed, self.count)
        figures = {"rounds": self.count, "failed_rounds": failed, "rate": rate, "bound": bound}
        said = (
            f"{failed} of {self.count} rounds had a flaky test: {rate:.1%}, and at most {bound:.1%}"
            " of all such rounds (95 %)"
        )
        over = [*self._over_budget()] if self.options.strict else []
        part.tests = [
            _row("rounds without a flaky test", said if flaky else None, figures),
            *(self._record(each) for each in flaky),
            *over,
        ]
        wrong = [f"{each.title} {each.name}" for each in flaky] + [each["error"] for each in over]
        part.set_result(
            Code.FAILED if wrong else Code.PASSED,
            "; ".join([said, *(["flaky: " + ", ".join(wrong)] if wrong else [])]),
        )

    def _record(self, test: _Test) -> dict[str, Any]:
        count, runs = len(test.seeds), len(test.seeds) + test.passed
        error = (
            f"failed in {count} of {runs} rounds\n"
            f'  hint: uv run nox -s "{test.title}" -- --seed {test.seeds[0]}\n\n{test.error}'
        )
        figures = {"rounds": runs, "failed_rounds": count, "bound": upper_bound(count, runs)}
        return _row(f"{test.title} {test.name}", error, figures)

    def _over_budget(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each tier and test whose median duration is over its budget."""
        budgets = {each.name: each.budget for each in tiers.load()}
        for title, seconds in self._seconds.items():
            budget = budgets[title.partition("(")[0].partition("-")[0]]
            if budget and median(seconds) > budget:
                yield _slow(title, median(seconds), budget)
        for test in self._tests.values():
            if test.budget and median(test.durations) > test.budget:
                yield _slow(f"{test.title} {test.name}", median(test.durations), test.budget)


def _slow(name: str, took: float, budget: float) -> dict[str, Any]:
    return _row(name, f"{name} takes {took:.2f} s, its budget is {budget:g} s", {"duration": took})


def _row(name: str, error: str | None, metrics: dict[str, Any]) -> dict[str, Any]:
    status = "failed" if error else "passed"
    return {"name": name, "status": status, "duration": 0.0, "error": error, "metrics": metrics}
