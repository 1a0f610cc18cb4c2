"""Page and history of a project's runs, and the actions that show and compare them."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from baking import Bakery, needs_git
from project import Changes, Outcome, Project, ready

pytestmark = [pytest.mark.slow, needs_git]

FILE = "services/gateway/tests/unit/test_weather.py"
TEST = """
from pathlib import Path

import pytest


@pytest.mark.parametrize("day", ["a fine day", "it's <wet>"])
def test_it_is_fine(day: str) -> None:
    assert "wet" not in day or not Path(".nox/rain").exists()
"""
WET = f"{FILE}::test_it_is_fine[it's <wet>]"


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in git, with a test that fails when it rains, and two runs on the same code."""
    made = ready(bake, tmp_path_factory.mktemp("reports"), "Acme Reports")
    (made.path / FILE).write_text(TEST, encoding="utf-8")
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "a")):
        made.run("git", *words)
    return made


@pytest.fixture(scope="module")
def runs(project: Project) -> list[Outcome]:
    """Two runs on the same code, the second one in the rain."""
    asked = ("-s", "unit(gateway)", "--", "-k", "weather or domain")
    fine = project.nox(*asked)
    (project.path / ".nox" / "rain").touch()
    return [fine, project.nox(*asked)]


@pytest.fixture
def page(project: Project, runs: list[Outcome]) -> Any:
    """Data of the last run's page."""
    text = (project.path / "reports" / "index.html").read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', text)
    assert found
    return json.loads(found[1])


def acted(project: Project, *words: str, **env: str) -> str:
    return project.run("uv", "run", "invoke", *words, env=env).stdout


def test_the_summary_of_a_run_records_the_commit(project: Project, runs: list[Outcome]) -> None:
    head = project.run("git", "rev-parse", "--short=12", "HEAD").stdout.strip()
    assert [each.code for each in runs] == [0, 1]
    assert [each.summary["source"] for each in runs] == [head, head]
    assert "see reports/summary.json and reports/index.html" in runs[1].output


def test_the_page_shows_the_last_run_and_its_changes(page: Any) -> None:
    assert (page["exit_code"], page["meaning"]) == (1, "failures")
    assert page["change"]["newly_failing"] == [["unit(gateway)", WET]]
    assert [each["session"] for each in page["change"]["tiers"]] == ["unit(gateway)"]
    assert [each["name"] for each in page["flaky"]] == [WET]
    assert {each["budget"] for each in page["slowest"]} == {0.1}


def test_actions_show_and_compare_runs(project: Project, runs: list[Outcome]) -> None:
    assert runs
    listed = acted(project, "report.history")
    first, second = re.findall(r"^(\d{14}\S*)", listed, re.MULTILINE)
    assert f"FLAKY unit(gateway): {WET} failed in 1 of 2 runs of the same code" in listed
    compared = acted(project, "report.compare", "previous", "last")
    assert re.search(rf"^newly failing +unit\(gateway\) +{re.escape(WET)}$", compared, re.MULTILINE)
    assert re.search(r"^tier +unit\(gateway\) +\d", compared, re.MULTILINE)
    back = acted(project, "report.compare", "reports/summary.json", first)
    assert re.search(rf"^fixed +unit\(gateway\) +{re.escape(WET)}$", back, re.MULTILINE)
    assert acted(project, "report.compare", first, second) == compared
    assert f"unit(gateway): {FILE}" in acted(project, "report.show")


def test_report_open_opens_the_page_in_the_browser(
    project: Project, page: Any, tmp_path: Path
) -> None:
    assert page
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {shlex.quote(f"{tmp_path}/opened")}\n')
    browser.chmod(0o755)
    said = acted(project, "report.open", BROWSER=str(browser))
    opened = (tmp_path / "opened").read_text(encoding="utf-8").strip()
    assert opened == said.strip() == (project.path / "reports/index.html").as_uri()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("report.compare", "last", "yesterday"), "no run is kept as 'yesterday'"),
        (("report.compare", "last", "pyproject.toml"), "cannot be read as the summary of a run"),
    ],
)
def test_comparing_with_an_unknown_or_invalid_run_is_refused(
    project: Project, runs: list[Outcome], words: tuple[str, ...], says: str
) -> None:
    assert runs
    done = project.run("uv", "run", "invoke", *words, check=False)
    assert (done.returncode, says in done.stderr) == (3, True), done.stderr


def test_the_command_of_a_failure_runs_that_test_and_no_other(project: Project, page: Any) -> None:
    (failed,) = [each for each in page["tests"] if each["status"] == "failed"]
    with Changes(project) as changes:
        # It writes a page and a history entry, which other tests must not see.
        shutil.copytree(changes.hide("reports"), project.path / "reports")
        outcome = project.outcome("sh", "-c", failed["command"])
    assert outcome.code == 1, outcome.output
    assert [each["name"] for each in outcome.summary["tests"]] == [WET]
