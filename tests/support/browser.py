"""Headless Chromium, from the packages `chromium` and `chromium-driver` of Debian."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="no Chromium with its driver on PATH: apt-get install chromium chromium-driver",
)
OPTIONS = (
    *("--headless=new", "--hide-scrollbars", "--disable-dev-shm-usage"),
    # The sandbox does not work for root in a container; only our own page is opened.
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
)


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Start Chromium with a log of its network requests; stop it at the end."""
    options = ChromeOptions()
    options.binary_location = BROWSER or ""
    for each in OPTIONS:
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # An explicit path prevents Selenium from looking up or downloading a driver.
    running = Chrome(options=options, service=Service(DRIVER))
    try:
        yield running
    finally:
        running.quit()


def shape(browser: Chrome, width: int, *, dark: bool = False) -> None:
    """Set the width of the window, a phone's below 600, and the preferred colour scheme."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    _command(browser, "Emulation.setDeviceMetricsOverride", **screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    _command(browser, "Emulation.setEmulatedMedia", features=[scheme])


def logged(browser: Chrome, log: str) -> list[dict[str, Any]]:
    """Return new entries of a log, `browser` or `performance`, since the last call."""
    entries: list[dict[str, Any]] = browser.get_log(log)
    return entries


def _command(browser: Chrome, name: str, **arguments: Any) -> Any:
    return browser.execute_cdp_cmd(name, arguments)
