"""What came of a test, phase by phase."""

from typing import Literal

import pytest
from ops.testing.results import Results


def report(
    when: Literal["setup", "call", "teardown"],
    outcome: Literal["passed", "failed", "skipped"],
    said: str = "",
) -> pytest.TestReport:
    return pytest.TestReport("a test", ("a.py", 1, "a"), {}, outcome, said, when)


def test_an_error_in_teardown_does_not_take_the_place_of_the_tests_own() -> None:
    results = Results(None)
    for each in (
        report("setup", "passed"),
        report("call", "failed", "assert 1 == 2"),
        report("teardown", "failed", "a transaction is left"),
    ):
        results.pytest_runtest_logreport(each)
    test = results.tests["a test"]
    assert (test["status"], test["error"]) == ("failed", "assert 1 == 2\n\na transaction is left")


def test_what_is_skipped_in_teardown_has_failed_before() -> None:
    results = Results(None)
    results.pytest_runtest_logreport(report("call", "failed", "assert 1 == 2"))
    results.pytest_runtest_logreport(report("teardown", "skipped", "not here"))
    assert results.tests["a test"]["status"] == "failed"
