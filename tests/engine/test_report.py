"""The page of a run, its history, and the verdict of several runs on a test."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reports
from reports import HOSTILE, one, part, summary
from stratakit import git, report
from stratakit.errors import ConfigurationError
from stratakit.report import history, page
from stratakit.report.history import Change, Flaky, Record

from .installed_programs import need

SLOW = "tests/unit/test_a.py::test_slow"


def data_of(text: str) -> Any:
    """Return the JSON that is embedded in a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def published(folder: Path, run: dict[str, Any]) -> str:
    report.publish(run, "failures", folder)
    return (folder / report.PAGE).read_text(encoding="utf-8")


def test_names_and_errors_of_tests_are_escaped_in_the_page(tmp_path: Path) -> None:
    error = "</script><!--<script>\u2028 half a pair: \ud83d"
    text = published(tmp_path, summary([one(HOSTILE, status="failed", error=error)]))
    (test,) = data_of(text)["tests"]
    assert (test["name"], test["error"]) == (HOSTILE, error)
    assert text.count("</script>") == 2
    assert "\u2028" not in text
    assert "<!--" not in text


def test_the_content_security_policy_allows_only_the_pages_own_script_and_style(
    tmp_path: Path,
) -> None:
    text = published(tmp_path, summary([one("a")]))
    style, script = re.search(r"<style>(.*?)</style>", text, re.DOTALL), text.rpartition("<script>")
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)
    assert style
    assert policy
    assert f"script-src {page._hash(script[2].partition('</script>')[0])};" in policy[1]
    assert policy[1].endswith(f"style-src {page._hash(style[1])}")
    assert policy[1].startswith("default-src 'none'")


def test_the_bundled_uplot_has_the_version_named_in_its_readme() -> None:
    folder = page.HERE / "uplot"
    version = (folder / "README.md").read_text(encoding="utf-8").split()[2]
    assert f"(v{version})" in (folder / "uPlot.iife.min.js").read_text(encoding="utf-8")[:60]


def test_long_errors_keep_their_end_and_long_names_are_shortened(tmp_path: Path) -> None:
    failed = [one(f"{at}", status="failed", error="x" * 100_000 + "the end") for at in range(500)]
    text = published(tmp_path, summary([*failed, one("n" * 100_000)]))
    assert len(text) < 3_000_000
    shown = data_of(text)["tests"]
    assert shown[0]["error"].endswith("xthe end")
    assert len(shown[-1]["name"]) == page.LONGEST_NAME + 1


FILE = "services/gateway/tests/unit/test_a.py"


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (one(f"{FILE}::test_b"), f'-s "unit(gateway)" -- {FILE}::test_b'),
        (one(f"{FILE}::test_b[a b]"), f"-s \"unit(gateway)\" -- '{FILE}::test_b[a b]'"),
        (one(f"{FILE}::test_b['$(rm x)']"), f"""-- '{FILE}::test_b['"'"'$(rm x)'"'"']'"""),
        (one(f"{FILE}::test_b[\u202ex]"), f'-s "unit(gateway)" -- {FILE}::test_b'),
        (one(f"{FILE}::test_b[{'x' * 999}]"), f'-s "unit(gateway)" -- {FILE}::test_b'),
        (one(f"{FILE}::test_\u202e"), 'uv run nox -s "unit(gateway)"'),
        (one(FILE), f'-s "unit(gateway)" -- {FILE}'),
        (one(f"{FILE}::test_b", python="3.12"), f'"unit(gateway)" -P 3.12 -- {FILE}::test_b'),
        (one("ruff", "static", None), 'uv run nox -s "static" -- --only ruff'),
        (one("critical: a.py", "coverage", None), 'uv run nox -s "coverage"'),
    ],
)
def test_the_rerun_command_names_the_test_or_its_tier(test: dict[str, Any], words: str) -> None:
    assert page.command(test).endswith(words)


def test_only_load_tests_of_this_run_are_shown(tmp_path: Path) -> None:
    for service in ("gateway", "billing"):
        file = tmp_path / "load" / service / "load.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({**reports.load(), "service": service}), encoding="utf-8")
    shown = data_of(published(tmp_path, summary([one("p95_latency_ms", "load")])))["load"]
    assert [each["service"] for each in shown] == ["gateway"]


def test_long_series_are_thinned_out_and_short_ones_are_not() -> None:
    thin = page._thinned({"series": [[at, at] for at in range(36_000)], "curve": [[50, 1.0]] * 40})
    assert 400 <= len(thin["series"]) <= page.POINTS
    assert len(thin["curve"]) == 40


def test_a_page_that_cannot_be_written_is_reported_without_an_exception(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.publish({}, "passed", tmp_path)
    assert "reports/index.html cannot be written: KeyError" in capsys.readouterr().err


# --- History ---


def kept(*runs: dict[str, Any]) -> list[Record]:
    return [Record(f"{at}", run) for at, run in enumerate(runs)]


def run(status: str = "passed", duration: float = 0.01, name: str = SLOW, **more: Any) -> Any:
    return summary([one(name, status=status, duration=duration)], **more)


def test_the_history_keeps_only_the_newest_runs_despite_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "1999.json").write_text("{", encoding="utf-8")
    for at in range(history.KEPT + 5):
        finished = f"2026-11-28T12:{at // 2:02}:00Z"
        history.keep(summary([one(f"{at}", error="x" * 9000)], finished=finished), tmp_path)
    assert len([*tmp_path.iterdir()]) == history.KEPT
    there = history.load(tmp_path)
    assert [each.summary["tests"][0]["name"] for each in there] == [
        str(at) for at in range(5, history.KEPT + 5)
    ]
    assert len(there[0].summary["tests"][0]["error"]) == history.LONGEST


def test_each_test_is_compared_with_the_last_run_that_contains_it() -> None:
    other = summary([one("lint", "static", None)])
    now = summary(
        [
            one("broken", status="failed"),
            one("new and broken", status="failed"),
            one("still broken", status="failed"),
            one("fixed"),
            one("slower", duration=0.5),
            one("a bit slower", duration=0.14),
        ],
        [part("unit", "gateway", duration_seconds=7.5)],
    )
    before = summary(
        [
            one("broken"),
            one("still broken", status="failed"),
            one("fixed", status="failed"),
            one("slower", duration=0.1),
            one("a bit slower", duration=0.1),
        ],
        [part("unit", "gateway", duration_seconds=5.0)],
    )
    found = history.difference(kept(before, other), Record("now", now))
    unit = "unit(gateway)"
    assert found.newly_failing == [(unit, "broken"), (unit, "new and broken")]
    assert found.fixed == [(unit, "fixed")]
    assert found.slower == [Change(unit, "slower", 0.1, 0.5)]
    assert found.tiers == [Change(unit, "unit", 5.0, 7.5)]


def test_a_test_that_passed_and_failed_on_the_same_code_is_flaky() -> None:
    runs = kept(run(), run("failed"), run(), run(source="other"))
    assert history.flaky(runs) == [Flaky("unit(gateway)", SLOW, 2, 1)]


DOWN = {"tiers": [part("unit", "gateway", exit_code=2, status="infrastructure")]}


@pytest.mark.parametrize(
    "runs",
    [
        (run(source="a"), run("failed", source="b"), run(source="c")),
        (run(source=None), run("failed", source=None)),
        (run(), run("skipped"), run()),
        (run(), run("failed", **DOWN)),
    ],
    ids=["the code changed", "unknown code", "skipped", "a server was down"],
)
def test_outcomes_that_differ_for_another_reason_do_not_make_a_test_flaky(runs: Any) -> None:
    assert history.flaky(kept(*runs)) == []


@pytest.mark.parametrize(
    ("durations", "slowing"),
    [
        ((0.1, 0.12, 0.1, 0.5, 0.6, 0.7), True),
        ((0.1, 0.12, 0.1, 0.5, 0.1, 0.7), False),
        ((0.1, 0.12, 0.9, 0.5, 0.6, 0.7), False),
        ((0.01, 0.01, 0.01, 0.05, 0.05, 0.05), False),
        ((0.1, 0.1, 0.5, 0.6, 0.7), False),
    ],
    ids=["slowing", "one was fast again", "one was slow before", "too small", "too few runs"],
)
def test_a_test_is_slowing_if_each_recent_run_was_slower(
    durations: tuple[float, ...], slowing: bool
) -> None:
    found = history.slowing(kept(*(run(duration=each) for each in durations)))
    assert [(each.before, each.now) for each in found] == [(0.1, 0.6)] * slowing


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tiers": []}', '{"tests": []}', "null"])
def test_a_file_that_is_not_a_summary_is_refused_by_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"some\.json cannot be read as the summary"):
        history.read(file)


# --- The state of the code ---


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    need("git")
    for words in (
        ("init", "--quiet"),
        ("config", "user.email", "a@example.org"),
        ("config", "user.name", "a"),
    ):
        git.git(tmp_path, *words)
    (tmp_path / "a.py").write_text("1\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("reports/\n", encoding="utf-8")
    git.git(tmp_path, "add", ".")
    git.git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "other"),
    [
        (lambda folder: (folder / "a.py").write_text("2\n", encoding="utf-8"), True),
        (lambda folder: (folder / "b.py").write_text("2\n", encoding="utf-8"), True),
        (lambda folder: (folder / "reports").mkdir(), False),
    ],
    ids=["edited", "added", "ignored"],
)
def test_edited_or_added_files_change_the_state_and_ignored_ones_do_not(
    repository: Path, change: Callable[[Path], object], other: bool
) -> None:
    before = git.state(repository)
    assert before == git.git(repository, "rev-parse", "--short=12", "HEAD").strip()
    change(repository)
    assert (git.state(repository) != before) is other
    assert (git.state(repository) or "").startswith(before)


def test_the_state_is_unknown_without_a_repository(tmp_path: Path) -> None:
    assert git.state(tmp_path) is None
