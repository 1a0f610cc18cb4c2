"""Outcome of a test, phase by phase."""

from typing import Literal

import pytest
from stratakit.errors import Code, ConfigurationError
from stratakit.results import split_output
from stratakit.testing.results import ABSENT, Results


def report(
    when: Literal["setup", "call", "teardown"],
    outcome: Literal["passed", "failed", "skipped"],
    said: str = "",
) -> pytest.TestReport:
    return pytest.TestReport("a test", ("a.py", 1, "a"), {}, outcome, said, when)


def test_an_error_in_teardown_is_added_to_the_error_of_the_test() -> None:
    results = Results(None)
    for each in (
        report("setup", "passed"),
        report("call", "failed", "assert 1 == 2"),
        report("teardown", "failed", "a transaction is left"),
    ):
        results.pytest_runtest_logreport(each)
    test = results.tests["a test"]
    assert (test["status"], test["error"]) == ("failed", "assert 1 == 2\n\na transaction is left")


def test_a_skip_in_teardown_does_not_hide_that_the_test_failed() -> None:
    results = Results(None)
    results.pytest_runtest_logreport(report("call", "failed", "assert 1 == 2"))
    results.pytest_runtest_logreport(report("teardown", "skipped", "not here"))
    assert results.tests["a test"]["status"] == "failed"


def collected(outcome: Literal["passed", "failed"]) -> pytest.CollectReport:
    return pytest.CollectReport("a.py", outcome, None, [])


@pytest.mark.parametrize(
    ("reports", "status", "reason"),
    [
        ([], "interrupted", "the run was interrupted: Quitting debugger"),
        ([report("call", "passed")], "interrupted", "the run was interrupted: Quitting debugger"),
        (
            [report("call", "failed", "assert 1 == 2")],
            "failed",
            "tests failed, and the run was stopped: Quitting debugger",
        ),
        ([collected("failed")], "failed", "tests could not be collected"),
    ],
)
def test_an_interrupted_run_is_failed_only_after_a_failure_or_a_collection_error(
    reports: list[pytest.TestReport | pytest.CollectReport], status: str, reason: str
) -> None:
    results = Results(None)
    for each in reports:
        if isinstance(each, pytest.CollectReport):
            results.pytest_collectreport(each)
        else:
            results.pytest_runtest_logreport(each)
    with pytest.raises(pytest.exit.Exception) as stopped:
        pytest.exit("Quitting debugger")
    results.pytest_keyboard_interrupt(stopped)
    assert results.interruption() == (status, reason)


def lacking(part: str, reason: str) -> pytest.TestReport:
    skipped = report("setup", "skipped", reason)
    skipped.user_properties.append((ABSENT, (part, reason)))
    return skipped


def test_an_absent_part_is_listed_once_per_reason() -> None:
    results = Results(None)
    for reason in ("aws cannot be had", "aws cannot be had", "google cannot be had"):
        results.pytest_runtest_logreport(lacking("providers", reason))
    assert results.absent == [
        {"name": "providers", "reason": "aws cannot be had"},
        {"name": "providers", "reason": "google cannot be had"},
    ]
    assert results.tests["a test"]["status"] == "skipped"


@pytest.mark.parametrize(
    ("required", "codes"),
    [
        ([], {}),
        (["terraform"], {}),
        (["providers"], {Code.INFRASTRUCTURE: "required, and absent: providers"}),
    ],
)
def test_an_absent_part_is_an_error_only_if_it_is_required(
    required: list[str], codes: dict[Code, str]
) -> None:
    results = Results(None)
    results.pytest_runtest_logreport(lacking("providers", "aws cannot be had"))
    results.refuse_absent(required)
    assert results.codes == codes


def test_a_skip_by_the_test_itself_is_not_an_absent_part() -> None:
    results = Results(None)
    results.pytest_runtest_logreport(report("setup", "skipped", "not on Windows"))
    assert not results.absent
    assert not results.nothing_but_absent


@pytest.mark.parametrize(
    ("words", "rest", "asked"),
    [
        ([], [], False),
        (["-k", "a"], ["-k", "a"], False),
        (["--output", "json"], [], True),
        (["-x", "--output=json", "-k", "a"], ["-x", "-k", "a"], True),
    ],
)
def test_the_output_option_is_separated_from_the_words_for_the_tier(
    words: list[str], rest: list[str], asked: bool
) -> None:
    assert split_output(words) == (rest, asked)


@pytest.mark.parametrize("words", [["--output"], ["--output", "xml"], ["--output=yaml"]])
def test_an_unknown_or_missing_output_format_is_refused(words: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="the only output format is json"):
        split_output(words)
