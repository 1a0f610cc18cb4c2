"""The page of a run in Chromium: its content, accessibility, and safety from hostile test names."""

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import reports
from baking import Bake, Bakery, run
from browser import chromium, logged, needs_chromium, shape
from reports import HOSTILE
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = [pytest.mark.proof(of="page"), needs_chromium]

PUBLISH = """
import json, sys
from itertools import pairwise
from pathlib import Path
from stratakit import report
for run in json.load(sys.stdin):
    report.publish(run, "failures", Path(sys.argv[1]))
"""
LINE = "x" * 100_000
SECTIONS = [
    *("Tiers", "Failures", "Since the run before", "Over several runs", "Absent", "All tests"),
    *("Slowest tests", "Coverage", "Load", "Measured by tests"),
]


def publish(project: Bake, folder: Path, *runs: Any) -> str:
    """Publish runs in a folder with a project's engine; return the URL of the last page."""
    env = {**project.environment, "PYTHONPATH": str(project.path / "vendor/stratakit/src")}
    command = (sys.executable, "-c", PUBLISH, str(folder))
    run(*command, cwd=project.path, env=env, typed=json.dumps(runs))
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def big(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of 5,000 tests, with failures, hostile names, load and a sweep."""
    folder = tmp_path_factory.mktemp("reports")
    load = folder / "load" / "gateway" / "load.json"
    load.parent.mkdir(parents=True)
    load.write_text(json.dumps(reports.load()), encoding="utf-8")
    first, last = (reports.big(5000, seed) for seed in (1, 2))
    first["tests"][400] |= {"status": "passed", "error": None}
    error = f'<script>document.title = "owned"</script>{LINE}'
    last["tests"].append(reports.one(HOSTILE, status="failed", error=error, duration=9.0))
    publish(bake(), folder, first, last)
    return folder / "index.html"


@pytest.fixture(scope="module")
def started() -> Iterator[Chrome]:
    """A shared Chromium for all tests: starting it takes a second."""
    with chromium() as running:
        yield running


@pytest.fixture
def chrome(started: Chrome) -> Chrome:
    """Chromium, reset to a wide window and empty logs."""
    shape(started, 1280)
    started.get("about:blank")
    for log in ("browser", "performance"):
        logged(started, log)
    return started


@pytest.fixture
def browser(chrome: Chrome, big: Path) -> Chrome:
    """Chromium with the page freshly opened."""
    chrome.get(big.as_uri())
    return chrome


def texts(browser: Chrome, selector: str) -> list[str]:
    """Return the text of each element, in page order."""
    found = browser.find_elements(By.CSS_SELECTOR, selector)
    return [str(each.get_property("textContent")) for each in found]


def labelled(browser: Chrome, label: str) -> WebElement:
    """Return the control of a label."""
    path = f"//label[starts-with(normalize-space(), {label!r})]/*[self::select or self::input]"
    return browser.find_element(By.XPATH, path)


def header(browser: Chrome, text: str) -> WebElement:
    """Return the header of a column in the table of all tests."""
    return browser.find_element(
        By.XPATH, f"//table[@class='tests']//th[normalize-space()={text!r}]"
    )


def durations(browser: Chrome) -> list[float]:
    """Return the displayed durations of the listed tests, in seconds."""
    shown = (each.split() for each in texts(browser, ".tests td.number"))
    return [float(value) / (1000 if unit == "ms" else 1) for value, unit in shown]


def test_a_page_of_5000_tests_opens_within_a_second_and_is_below_3_mb(
    browser: Chrome, big: Path
) -> None:
    took = []
    for _ in range(3):
        browser.get(big.as_uri())
        (entry,) = browser.execute_script("return performance.getEntriesByType('navigation')")
        took.append(entry["loadEventEnd"])
    # The best time counts, since the machine is busy.
    assert 0 < min(took) < 1000, took
    assert big.stat().st_size < 3_000_000
    print(f"opened in {min(took):.0f} ms, {big.stat().st_size / 1e6:.2f} MB")


def test_the_page_shows_all_sections_in_order_without_browser_errors(browser: Chrome) -> None:
    assert texts(browser, "h1") == ["Exit code 1: failures"]
    assert texts(browser, "h2") == SECTIONS == texts(browser, "nav a")
    assert texts(browser, ".cards b")[:2] == ["static", "unit(gateway)"]
    assert len(browser.find_elements(By.TAG_NAME, "canvas")) == 10
    assert "This part cannot be shown" not in browser.find_element(By.TAG_NAME, "main").text
    assert logged(browser, "browser") == []


def test_a_section_without_data_is_not_shown(chrome: Chrome, bake: Bakery, tmp_path: Path) -> None:
    chrome.get(publish(bake(), tmp_path, reports.summary([reports.one("tests/test_a.py::test_b")])))
    assert texts(chrome, "h2") == ["Tiers", "All tests", "Slowest tests"]


def test_the_page_loads_nothing_from_a_network_and_blocks_requests(
    browser: Chrome, big: Path
) -> None:
    records = [json.loads(each["message"])["message"] for each in logged(browser, "performance")]
    asked = [
        each["params"]["request"]["url"]
        for each in records
        if each["method"] == "Network.requestWillBeSent"
    ]
    assert {each for each in asked if not each.startswith("data:")} == {big.as_uri()}
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    refused = browser.execute_async_script(
        "addEventListener('securitypolicyviolation', (event) => arguments[0](event.blockedURI));"
        "fetch('http://127.0.0.1:9/').catch(() => null)"
    )
    assert refused.startswith("http://127.0.0.1:9")


def test_hostile_test_names_and_errors_are_shown_as_text_without_overflow(browser: Chrome) -> None:
    assert browser.title.endswith(": failures")
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 2
    shown = HOSTILE.replace("\u202e", "\\u202e")
    assert shown in texts(browser, "article h3")
    assert shown in texts(browser, ".tests .name")
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide == 1280
    for each in browser.find_elements(By.TAG_NAME, "summary"):
        each.click()
    assert browser.execute_script("return document.documentElement.scrollWidth") == 1280
    assert any(each.endswith("x" * 9_000) for each in texts(browser, "article pre"))


def test_the_table_of_tests_is_sorted_by_time_or_name(browser: Chrome) -> None:
    assert texts(browser, ".tests .status")[:8] == ["failed"] * 5 + ["skipped"] * 2 + ["passed"]
    button = header(browser, "time").find_element(By.TAG_NAME, "button")
    for direction in ("descending", "ascending"):
        button.click()
        assert header(browser, "time").get_attribute("aria-sort") == direction
        found = durations(browser)
        assert found == sorted(found, reverse=direction == "descending")
    header(browser, "test").find_element(By.TAG_NAME, "button").click()
    assert header(browser, "time").get_attribute("aria-sort") is None
    names = texts(browser, ".tests .name")
    assert names[0].startswith("critical: libs/")
    assert len(names) == 200


@pytest.mark.parametrize(
    ("chosen", "typed", "count", "statuses"),
    [
        ({"status": "failed"}, "", 5, {"failed"}),
        ({"status": "failed", "tier": "coverage"}, "", 1, {"failed"}),
        ({"tier": "unit", "service": "servicebase"}, "", 1000, {"passed"}),
        ({}, "ASSERT 90 == 100", 3, {"failed"}),
        ({}, "test_smoke", 1, {"passed"}),
        ({"status": "skipped"}, "nothing of the kind", 0, set()),
    ],
)
def test_the_table_of_tests_is_filtered_by_status_tier_service_and_text(
    browser: Chrome, chosen: dict[str, str], typed: str, count: int, statuses: set[str]
) -> None:
    for label, value in chosen.items():
        Select(labelled(browser, label)).select_by_visible_text(value)
    labelled(browser, "search").send_keys(typed)
    assert texts(browser, ".controls output") == [f"{count:,} of 5,014 tests"]
    assert {*texts(browser, ".tests .status")} == statuses


def test_show_more_reveals_all_tests_in_steps(browser: Chrome) -> None:
    more = browser.find_element(By.XPATH, "//button[.='Show more']")
    for shown in (200, 1000, 5000, 5014):
        assert len(browser.find_elements(By.CSS_SELECTOR, ".tests tbody tr")) == shown
        if shown < 5014:
            more.click()
    assert not more.is_displayed()


def test_the_page_is_dark_if_the_system_or_the_user_chooses_so(browser: Chrome) -> None:
    def colours() -> tuple[int, float]:
        """Return the brightness of the page, and the average one of its first chart's lines."""
        page, chart = browser.execute_script(
            "const canvas = document.querySelector('canvas');"
            "const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
            "const red = data.filter((_, at) => at % 4 === 0 && data[at + 3] === 255);"
            "const page = getComputedStyle(document.documentElement).backgroundColor;"
            "return [Number(page.match(/\\d+/)[0]), red.reduce((a, b) => a + b, 0) / red.length]"
        )
        return page, chart

    button = browser.find_element(By.XPATH, "//button[.='Dark']")
    light, pale = colours()
    assert (light > 240, button.get_attribute("aria-pressed")) == (True, "false")
    button.click()
    dark, dim = colours()
    assert (dark < 40, button.get_attribute("aria-pressed")) == (True, "true")
    assert dim < pale - 50
    shape(browser, 1280, dark=True)
    browser.refresh()
    assert colours()[0] == dark
    browser.find_element(By.XPATH, "//button[.='Dark']").click()
    assert colours()[0] == light


@pytest.mark.parametrize("width", [320, 390, 768])
def test_the_page_fits_narrow_screens_without_horizontal_scrolling(
    browser: Chrome, width: int
) -> None:
    shape(browser, width)
    browser.refresh()
    found = browser.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth, [...document.querySelectorAll("
        "'main *')].filter((each) => each.getBoundingClientRect().right > innerWidth + 1)"
        ".map((each) => each.outerHTML.slice(0, 200))]"
    )
    assert found == [width, width, []]
    sizes = {float(each.size["height"]) for each in browser.find_elements(By.TAG_NAME, "select")}
    assert min(sizes) >= 34


def test_the_page_can_be_used_with_a_keyboard_alone(browser: Chrome) -> None:
    def press(*keys: str) -> WebElement:
        ActionChains(browser).send_keys(*keys).perform()
        return browser.switch_to.active_element

    def tab_to(condition: str) -> WebElement:
        for _ in range(100):
            if browser.execute_script(f"return document.activeElement.matches({condition!r})"):
                return browser.switch_to.active_element
            press(Keys.TAB)
        raise AssertionError(f"no Tab leads to {condition}")

    assert press(Keys.TAB).text == "Skip to the results"
    press(Keys.ENTER)
    assert browser.execute_script("return document.activeElement.id") == "main"
    copy = tab_to(".again button")
    outline = browser.execute_script(
        "return getComputedStyle(document.activeElement).outlineStyle + ' ' +"
        " getComputedStyle(document.activeElement).outlineWidth"
    )
    assert outline == "solid 2px"
    press(Keys.ENTER)
    WebDriverWait(browser, 10).until(lambda _: copy.text in {"Copied", "Selected"})
    tab_to("input[type=search]")
    press("test_smoke")
    assert texts(browser, ".controls output") == ["1 of 5,014 tests"]
    press(Keys.BACKSPACE * 10)
    tab_to("th:last-child button")
    press(Keys.SPACE)
    assert header(browser, "time").get_attribute("aria-sort") == "descending"
    assert durations(browser)[0] == 9.0


def test_each_control_has_a_name_and_headings_are_in_order(browser: Chrome) -> None:
    nameless = browser.execute_script(
        "return [...document.querySelectorAll('button, select, input, a, section, [role=img]')]"
        ".filter((each) => !(each.labels?.length || each.textContent.trim() ||"
        " each.getAttribute('aria-label'))).map((each) => each.outerHTML)"
    )
    assert nameless == []
    levels = [
        int(each.tag_name[1]) for each in browser.find_elements(By.CSS_SELECTOR, "h1,h2,h3,h4")
    ]
    assert levels[0] == 1
    assert all(after <= before + 2 for before, after in pairwise(levels))


def test_a_dark_page_prints_on_white_and_is_dark_again_afterwards(browser: Chrome) -> None:
    browser.find_element(By.XPATH, "//button[.='Dark']").click()
    browser.execute_script(
        "addEventListener('beforeprint', () => { window.printed = getComputedStyle("
        "document.documentElement).backgroundColor; })"
    )
    assert len(browser.execute_cdp_cmd("Page.printToPDF", {})["data"]) > 10_000
    assert browser.execute_script("return window.printed") == "rgb(252, 252, 251)"
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"


def little() -> dict[str, Any]:
    """Return a load test with minimal data: one second, one request, one step."""
    load = reports.load()
    none = {"requests": 0, "latency_ms": dict.fromkeys(("p50", "p95", "p99")), "ttft_ms": None}
    nothing: dict[str, Any] = {"itl_ms": None, "tokens_per_second": None, "by_name": []}
    empty = {"curve": [], "histogram": [], "series": [], **none, **nothing}
    one = {"curve": [[50, 3.0, 3.0, 3.0]], "histogram": [[3.0, 1]], "series": [[0, 1, 1, None]]}
    return {
        **load,
        "phases": [{**load["phases"][0], **empty}, {**load["phases"][0], **none, **one}],
        "sweep": {"points": [[5, 9.0, None]], "knee": None},
        "soak": {"seconds": 1, "series": {"gateway: memory_mb": [[0, 92.0]]}, "slopes": []},
        "thresholds": [{**load["thresholds"][0], "value": None, "passed": False}],
        "ceiling": None,
    }


def test_a_load_test_with_minimal_data_is_shown(
    chrome: Chrome, bake: Bakery, tmp_path: Path
) -> None:
    file = tmp_path / "load" / "gateway" / "load.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(little()), encoding="utf-8")
    chrome.get(publish(bake(), tmp_path, reports.summary([reports.one("p95_latency_ms", "load")])))
    assert "This part cannot be shown" not in chrome.find_element(By.TAG_NAME, "main").text
    for phase in range(2):
        Select(labelled(chrome, "Phase")).select_by_index(phase)
        assert len(chrome.find_elements(By.CSS_SELECTOR, "figure canvas")) == (3, 7)[phase]
    assert logged(chrome, "browser") == []


def test_a_cloud_run_is_shown_with_its_steps_its_cost_and_its_machine(
    chrome: Chrome, bake: Bakery, tmp_path: Path
) -> None:
    machine = {
        "service": "gateway",
        "cloud": "aws",
        "instance": "r7a.large",
        "region": "us-east-2",
        "usd_per_hour": 0.0353,
        "source": "spot",
        "max_usd": 0.3,
        "usd": 0.0021,
        "lease": "acme-20261128120000-c0ffee",
        "left": "given back",
    }
    file = tmp_path / "cloud" / "cloud.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(machine), encoding="utf-8")
    steps = [
        reports.one("credentials", "cloud", None, metrics={"usd_per_hour": 0.0353}),
        reports.one("launch", "cloud", None, duration=61.0),
        reports.one("health", "cloud", None, status="failed", error=HOSTILE),
        reports.one("request", "cloud", None, status="skipped", error="not taken"),
        reports.one("termination", "cloud", None),
    ]
    chrome.get(publish(bake(), tmp_path, reports.summary(steps)))
    assert "Measured by tests" not in texts(chrome, "h2")
    assert texts(chrome, "#cloud h3") == ["gateway"]
    assert texts(chrome, "#cloud .facts span") == [
        "r7a.large in us-east-2, aws",
        "$0.0353 an hour (spot)",
        "at most $0.3",
        "cost $0.0021",
        "acme-20261128120000-c0ffee",
        "the machine: given back",
    ]
    rows = [
        each.text.split("\n")[0].split()
        for each in chrome.find_elements(By.CSS_SELECTOR, "#cloud tbody tr")
    ]
    assert [row[0] for row in rows] == [each["name"] for each in steps]
    assert HOSTILE.replace("\u202e", "\\u202e") in texts(chrome, "#cloud td.wide")
    assert logged(chrome, "browser") == []


def test_cloud_runs_that_were_refused_or_used_a_given_host_are_shown(
    chrome: Chrome, bake: Bakery, tmp_path: Path
) -> None:
    steps = [reports.one("credentials", "cloud", None, status="failed", error="no account")]
    chrome.get(publish(bake(), tmp_path, reports.summary(steps)))
    assert texts(chrome, "#cloud td.wide") == ["no account"]
    file = tmp_path / "cloud" / "cloud.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"service": "gateway", "host": "https://a.example"}), "utf-8")
    chrome.get(publish(bake(), tmp_path, reports.summary(steps)))
    assert texts(chrome, "#cloud .facts span") == ["https://a.example, which was there"]
