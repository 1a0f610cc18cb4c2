"""Tests that are known to fail by chance: they run, and until a date their failure does not count.

`@pytest.mark.quarantine(until="2027-01-31", reason="…")`. The date is the last of the days, in UTC.
After it the test fails whatever comes of it: a quarantine that nobody ends is a test deleted.
"""

from collections.abc import Generator
from datetime import UTC, date, datetime
from typing import NamedTuple

import pytest

from ..errors import ConfigurationError

MARKER = "quarantine"


class Quarantine(NamedTuple):
    """Until when a test may fail, and why."""

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
        ConfigurationError: it lacks its date or its reason, or has something else.
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
            f"the marker {MARKER} of {item.nodeid} does not say until when, and why",
            f'write @pytest.mark.{MARKER}(until="2027-01-31", reason="why it fails by chance")',
        )
    return Quarantine(until, reason)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", f"{MARKER}(until, reason): until that day, a failure of it does not count"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose quarantine is over."""
    found = of(item)
    if found and found.over:
        pytest.fail(
            f"its quarantine ended on {found.until} ({found.reason}): fix the test and remove the"
            " marker, or say until when it needs another one",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make of a failure in quarantine one that was expected."""
    report = yield
    if report.failed:
        try:
            found = of(item)
        except ConfigurationError:
            return report
        if found and not found.over:
            report.outcome, report.wasxfail = "skipped", str(found)
    return report
