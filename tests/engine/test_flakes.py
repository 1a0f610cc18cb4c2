"""Flaky tests found in some rounds, and the confidence about the rest."""

from pathlib import Path
from typing import Any

import pytest

from stratakit import flakes
from stratakit.errors import Code, ConfigurationError
from stratakit.results import TierResult

NAME = "services/gateway/tests/unit/test_a.py::test_"


def row(name: str, status: str = "passed", duration: float = 0.01) -> dict[str, Any]:
    error = "it failed" if status == "failed" else None
    return {"name": f"{NAME}{name}", "status": status, "duration": duration, "error": error}


def settled(*rounds: list[dict[str, Any]], seconds: float = 1, words: str = "") -> TierResult:
    """Return the result of some rounds of one tier, of which the first has the seed 7."""
    found = flakes.Rounds(flakes.parse(["--seed", "7", *words.split()]))
    for tests in rounds:
        part = TierResult("unit", "gateway", Path(), duration_seconds=seconds, setup_seconds=0.5)
        part.tests = tests
        found.add([part])
    result = TierResult("flakes", None, Path())
    found.settle(result)
    return result


def test_a_test_that_failed_and_passed_is_flaky_with_a_command_to_reproduce() -> None:
    result = settled([row("a"), row("b")], [row("a", "failed"), row("b")], [row("a"), row("b")])
    assert result.exit_code == Code.FAILED
    assert "1 of 3 rounds had a flaky test" in (result.reason or "")
    assert f"flaky: unit(gateway) {NAME}a" in (result.reason or "")
    _, (flaky) = result.tests
    assert flaky["name"] == f"unit(gateway) {NAME}a"
    assert "failed in 1 of 3 rounds" in flaky["error"]
    assert 'hint: uv run nox -s "unit(gateway)" -- --seed 8\n' in flaky["error"]
    assert "it failed" in flaky["error"]


@pytest.mark.parametrize("status", ["passed", "failed", "skipped"])
def test_a_test_with_the_same_status_in_every_round_is_not_flaky(status: str) -> None:
    result = settled(*[[row("a", status), row("b")]] * 5)
    assert result.exit_code == Code.PASSED
    assert [each["status"] for each in result.tests] == ["passed"]


def test_a_test_that_passed_and_was_skipped_is_not_flaky() -> None:
    assert settled([row("a")], [row("a", "skipped")]).exit_code == Code.PASSED


@pytest.mark.parametrize(("rounds", "bound"), [(50, "5.8%"), (300, "1.0%")])
def test_rounds_without_a_flaky_test_bound_the_rate(rounds: int, bound: str) -> None:
    result = settled(*[[row("a")]] * rounds)
    assert result.reason == (
        f"0 of {rounds} rounds had a flaky test: 0.0%, and at most {bound} of all such rounds (95 %)"
    )
    assert result.tests[0]["metrics"]["rounds"] == rounds


def test_two_flaky_tests_in_one_round_count_as_one_round() -> None:
    result = settled([row("a", "failed"), row("b", "failed")], *[[row("a"), row("b")]] * 9)
    assert result.tests[0]["metrics"]["rate"] == 0.1
    assert len(result.tests) == 3


def test_strict_budgets_fail_a_test_that_is_slow_in_most_rounds() -> None:
    slow, once = [row("a", duration=0.2)], [row("a", duration=0.01)]
    assert settled(slow, slow, once).exit_code == Code.PASSED
    strict = settled(slow, slow, once, words="--strict-budgets")
    assert strict.exit_code == Code.FAILED
    assert f"{NAME}a takes 0.20 s, its budget is 0.1 s" in (strict.reason or "")
    assert settled(slow, once, once, words="--strict-budgets").exit_code == Code.PASSED


def test_the_budget_of_a_tier_excludes_the_setup_of_its_environment() -> None:
    for seconds, code in ((30.4, Code.PASSED), (30.6, Code.FAILED)):
        assert settled([row("a")], seconds=seconds, words="--strict-budgets").exit_code == code


def test_unknown_options_go_to_pytest_and_each_round_gets_its_own_seed() -> None:
    asked = flakes.parse(["--times", "3", "--seed", "7", "-k", "a or b"])
    assert asked.times == 3
    assert asked.words(2) == ("--seed", "9", "-q", "-k", "a or b")
    assert flakes.parse([]).times == flakes.TIMES


@pytest.mark.parametrize("words", [["--times", "0"], ["--times", "many"], ["--seed", "x"]])
def test_an_invalid_number_of_rounds_or_seed_is_refused(words: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="is not a whole number above 0") as refused:
        flakes.parse(words)
    assert refused.value.hint == flakes.HINT
