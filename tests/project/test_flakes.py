"""Random order, flaky tests, quarantined tests, and enforced budgets."""

import re
from collections.abc import Iterator

import pytest
from baking import Bakery
from project import Changes, Outcome, Project, ready

pytestmark = pytest.mark.proof(of="outcomes")

FILE = "services/gateway/tests/unit/test_planted.py"
ORDER = """
import pytest


@pytest.mark.parametrize("number", range(12))
def test_planted(number: int) -> None:
    print(f"ran {number}")
"""
CHANCE = """
import random

# Seeded before each test, and so the same for a seed of the run.
def test_planted_chance() -> None:
    assert random.random() < 0.5


def test_planted_stable() -> None: ...
"""
QUARANTINE = """
import pytest


@pytest.mark.quarantine({0})
def test_planted() -> None:
    assert {1}
"""
KNOWN = 'reason="known"'
SLOW = """
import time


def test_planted() -> None:
    time.sleep(0.15)  # It is to be slow: over the budget of 0.1 s.
"""


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return ready(bake, tmp_path_factory.mktemp("flakes"), "Acme Flakes")


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    with Changes(project) as changes:
        yield changes


def planted(project: Project, *words: str) -> Outcome:
    return project.nox("-s", "unit(gateway)", "--", "-k", "planted", *words)


def order(outcome: Outcome) -> list[str]:
    assert outcome.code == 0, outcome.output
    return re.findall(r"ran (\d+)", outcome.output)


def test_the_printed_seed_repeats_the_order_of_the_tests(
    project: Project, changes: Changes
) -> None:
    changes.write(FILE, ORDER)
    first = planted(project, "-s")
    (seed,) = {each["seed"] for each in first.summary["tiers"]}
    assert f"order and rows: --seed {seed}" in first.output
    assert order(planted(project, "-s", "--seed", seed)) == order(first)
    assert order(planted(project, "-s", "--seed", "1")) != order(
        planted(project, "-s", "--seed", "2")
    )
    plain = order(planted(project, "-s", "-p", "no:randomly"))
    assert plain == sorted(plain, key=int)


def test_flakes_reports_only_the_flaky_test_with_a_seed_that_repeats_it(
    project: Project, changes: Changes
) -> None:
    changes.write(FILE, CHANCE)
    found = project.nox("-s", "flakes", "--", "--times", "6", "--seed", "1", "-k", "planted")
    assert found.code == 1, found.output
    (of_all, flaky) = [each for each in found.summary["tests"] if each["tier"] == "flakes"]
    assert of_all["metrics"]["rounds"] == 6
    assert flaky["name"] == f"unit(gateway) {FILE}::test_planted_chance"
    assert f"flaky: {flaky['name']}" in found.output
    (seed,) = re.findall(r"-- --seed (\d+)\n", flaky["error"])
    again = planted(project, "--seed", seed)
    assert again.code == 1
    assert f"to repeat the test order and the rows: --seed {seed}" in again.output


def test_flakes_passes_on_a_stable_suite(project: Project, changes: Changes) -> None:
    changes.write(FILE, ORDER)
    done = project.nox("-s", "flakes", "--", "--times", "4", "-k", "planted")
    assert done.code == 0, done.output
    assert "0 of 4 rounds had a flaky test: 0.0%, and at most 52.7% of all" in done.output


@pytest.mark.parametrize(
    ("marker", "passes", "code", "says"),
    [
        (f'until="2999-01-31", {KNOWN}', "False", 0, "quarantined until 2999-01-31: known"),
        (f'until="2999-01-31", {KNOWN}', "True", 0, "1 passed"),
        (f'until="2020-01-31", {KNOWN}', "False", 1, "its quarantine ended on 2020-01-31 (known)"),
        (f'until="2020-01-31", {KNOWN}', "True", 1, "its quarantine ended on 2020-01-31 (known)"),
        (KNOWN, "True", 3, 'write @pytest.mark.quarantine(until="2027-01-31"'),
        (f'until="soon", {KNOWN}', "True", 3, "needs a date and a reason"),
        ('until="2999-01-31"', "True", 3, "needs a date and a reason"),
    ],
)
def test_a_quarantine_lasts_until_its_date_and_needs_a_reason(
    marker: str, passes: str, code: int, says: str, project: Project, changes: Changes
) -> None:
    changes.write(FILE, QUARANTINE.format(marker, passes))
    done = planted(project, "-rA")
    assert (done.code, says in done.output) == (code, True), done.output
    (test,) = done.summary["tests"]
    expected = "failed" if code else "passed" if passes == "True" else "skipped"
    assert test["status"] == expected
    if expected == "skipped":
        assert says in test["error"]


def test_a_test_over_its_budget_fails_only_with_strict_budgets(
    project: Project, changes: Changes
) -> None:
    changes.write(FILE, SLOW)
    assert planted(project).code == 0
    done = planted(project, "--strict-budgets")
    assert done.code == 1
    (test,) = done.summary["tests"]
    assert (test["status"], "its budget is 0.1 s" in test["error"]) == ("failed", True)
    assert "1 tests failed, of which 1 are over their budget" in done.output


def test_a_tier_over_its_budget_fails_only_with_strict_budgets(
    project: Project, changes: Changes
) -> None:
    changes.write(FILE, ORDER)
    changes.replace("pyproject.toml", "budget = 30\ntest_budget = 0.1", "budget = 0.01")
    loose, strict = planted(project), planted(project, "--strict-budgets")
    for done, code in ((loose, 0), (strict, 1)):
        assert done.code == code, done.output
        assert re.search(r"unit\(gateway\): it took \d+ s, its budget is 0.01 s", done.output)
