"""Test results, collected in the controller and written to the file that nox reads."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from .. import results, settings
from ..errors import Code

UNCOLLECTED = "tests could not be collected"
STRATA_ERROR = "strata_error"
"""User property of a test that failed with a `StrataError`: its `Code` and message."""
ABSENT = "strata_absent"
"""User property of a test that was skipped for an absent part: the part's name and the reason."""


class Results:
    """Collector of the reports of all workers."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.tests: dict[str, dict[str, Any]] = {}
        self.codes: dict[Code, str] = {}
        self.absent: list[dict[str, str]] = []
        self.elsewhere: str | None = None
        """Reason why no test was selected if all collected tests belong to other tiers."""
        self.seed: str | None = None
        """Seed of the test order."""
        self.uncollected = False
        self.stopped_by: str | None = None
        self.reason: str | None = None
        """Reason why the run as a whole failed."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase (setup, call or teardown) of one test."""
        test = self.tests.setdefault(report.nodeid, _test(report.nodeid))
        test["duration"] = round(test["duration"] + report.duration, 6)
        properties: dict[str, Any] = dict(report.user_properties)
        if STRATA_ERROR in properties:
            code, wrong = properties.pop(STRATA_ERROR)
            self.codes.setdefault(Code(code), wrong)
        if ABSENT in properties:
            name, reason = properties.pop(ABSENT)
            if (part := {"name": name, "reason": reason}) not in self.absent:
                self.absent.append(part)
        test["metrics"].update(_numbers(properties))
        if report.failed:
            # The test's own error comes first: it often causes the teardown's.
            said = filter(None, (test["error"], report.longreprtext))
            test["status"], test["error"] = "failed", "\n\n".join(said)
        elif report.skipped and test["status"] != "failed":
            expected = getattr(report, "wasxfail", "")
            said = filter(None, (expected, _last_line(report)))
            test["status"], test["error"] = "skipped", ": ".join(said)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Add a collection error as a failed test."""
        if report.failed:
            self.uncollected = True
            error = {"status": "failed", "error": str(report.longrepr)}
            self.tests[report.nodeid] = {**_test(report.nodeid), **error}

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember what stopped the run: Ctrl-C, the debugger, an option such as -x."""
        self.stopped_by = str(excinfo.value) or excinfo.typename

    def refuse_slow(self, budgets: Mapping[str, float]) -> None:
        """Mark tests over their budgets as failed."""
        for name, budget in budgets.items():
            test = self.tests[name]
            said = f"it took {test['duration']:.2f} s, its budget is {budget:g} s"
            test["status"], test["error"] = "failed", test["error"] or said
        if budgets:
            failed = sum(test["status"] == "failed" for test in self.tests.values())
            said = f"{failed} tests failed, of which {len(budgets)} are over their budget"
            self.codes.setdefault(Code.FAILED, said)

    def interruption(self) -> tuple[str, str]:
        """Return the status of a run that was stopped early, and the reason."""
        if self.uncollected:
            return "failed", UNCOLLECTED
        if any(test["status"] == "failed" for test in self.tests.values()):
            return "failed", f"tests failed, and the run was stopped: {self.stopped_by}"
        return "interrupted", f"the run was interrupted: {self.stopped_by}"

    def refuse_absent(self, required: Collection[str]) -> None:
        """Record an infrastructure error if required parts are absent."""
        missing = sorted({each["name"] for each in self.absent} & {*required})
        if missing:
            said = f"required, and absent: {', '.join(missing)}"
            self.codes.setdefault(Code.INFRASTRUCTURE, said)

    @property
    def nothing_but_absent(self) -> bool:
        """Whether every test was skipped, and at least one for an absent part."""
        return bool(self.absent) and all(
            test["status"] == "skipped" for test in self.tests.values()
        )

    def write(self, reason: str | None, status: str | None = None) -> None:
        """Write the results, with the reason why the run as a whole failed."""
        if self.file:
            left = {
                "tests": list(self.tests.values()),
                "absent": self.absent,
                "reason": reason,
                "status": status,
                "seed": self.seed,
            }
            results.write(self.file, json.dumps(left))


RESULTS = pytest.StashKey[Results]()


def _test(name: str) -> dict[str, Any]:
    return {"name": name, "status": "passed", "duration": 0.0, "error": None, "metrics": {}}


def _numbers(properties: dict[str, object]) -> dict[str, float]:
    return {name: value for name, value in properties.items() if isinstance(value, int | float)}


def _last_line(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    return report.longreprtext.strip().rpartition("\n")[2]


def masked(config: pytest.Config, report: pytest.TestReport) -> pytest.TestReport:
    """Return a report without passwords: CI publishes it in several files."""
    data = config.hook.pytest_report_to_serializable(config=config, report=report)
    hidden = _without_passwords(data)
    if hidden == data:
        return report
    found: pytest.TestReport = config.hook.pytest_report_from_serializable(
        config=config, data=hidden
    )
    return found


def _without_passwords(data: Any) -> Any:
    if isinstance(data, str):
        return settings.masked(data)
    if isinstance(data, dict):
        return {key: _without_passwords(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)(_without_passwords(value) for value in data)
    return data
