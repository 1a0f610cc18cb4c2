"""Quarantine of flaky tests: they still run, but until a date their failures do not count.

`@pytest.mark.quarantine(until="2027-01-31", reason="…")`. The date is the last day, in UTC. After
it the test always fails: a quarantine without an end would amount to a deleted test.
"""

from collections.abc import Generator
from datetime import UTC, date, datetime
from typing import NamedTuple

import pytest

from ..errors import ConfigurationError

MARKER = "quarantine"


class Quarantine(NamedTuple):
    """Last day on which a test may fail, and the reason."""

    until: date
    reason: str

    @property
    def over(self) -> bool:
        """Whether its last day has passed."""
        return datetime.now(UTC).date() > self.until

    def __str__(self) -> str:
        return f"quarantined until {self.until}: {self.reason}"


def of(item: pytest.Item) -> Quarantine | None:
    """Return the quarantine of a test, if it is in one.

    Raises:
        ConfigurationError: the marker lacks its date or reason, or has other arguments.
    """
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return None
    given = dict(marker.kwargs)
    try:
        until = date.fromisoformat(given.pop("until"))
        reason = given.pop("reason").strip()
        good = bool(reason) and not given and not marker.args
    except (KeyError, TypeError, ValueError, AttributeError):
        good, until, reason = False, date.max, ""
    if not good:
        raise ConfigurationError(
            f"the marker {MARKER} of {item.nodeid} needs a date and a reason",
            f'write @pytest.mark.{MARKER}(until="2027-01-31", reason="why it is flaky")',
        )
    return Quarantine(until, reason)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", f"{MARKER}(until, reason): a failure does not count until that date"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose quarantine is over."""
    found = of(item)
    if found and found.over:
        pytest.fail(
            f"its quarantine ended on {found.until} ({found.reason}): fix the test and remove the"
            " marker, or set a later date",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a failure in quarantine into an expected failure."""
    report = yield
    if report.failed:
        try:
            found = of(item)
        except ConfigurationError:
            return report
        if found and not found.over:
            report.outcome, report.wasxfail = "skipped", str(found)
    return report
