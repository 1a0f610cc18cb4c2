"""Chromium without a window, by the packages `chromium` and `chromium-driver` of Debian."""

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
    # Whoever is root in a container has no sandbox; the only page that is opened is our own.
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
)


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Start Chromium, which logs what its pages ask the network for; stop it at the end."""
    options = ChromeOptions()
    options.binary_location = BROWSER or ""
    for each in OPTIONS:
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With its path given, nothing is looked up or downloaded.
    running = Chrome(options=options, service=Service(DRIVER))
    try:
        yield running
    finally:
        running.quit()


def shape(browser: Chrome, width: int, *, dark: bool = False) -> None:
    """Give the window a width, as of a phone below 600, and the colours that its user prefers."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    _command(browser, "Emulation.setDeviceMetricsOverride", **screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    _command(browser, "Emulation.setEmulatedMedia", features=[scheme])


def logged(browser: Chrome, log: str) -> list[dict[str, Any]]:
    """Return what was logged since it was last asked for: `browser` or `performance`."""
    entries: list[dict[str, Any]] = browser.get_log(log)  # type: ignore[no-untyped-call]  # Selenium has none
    return entries


def _command(browser: Chrome, name: str, **arguments: Any) -> Any:
    return browser.execute_cdp_cmd(name, arguments)
