"""Selection of tests across several services: paths, caches, folders, words."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import baking
import pytest
from baking import Bakery
from project import NOX, Changes, Outcome, Project

pytestmark = pytest.mark.proof(of="outcomes")

SIDES = ("left", "right")
MANIFEST = """
[build-system]
requires = ["uv_build>=0.9,<1"]
build-backend = "uv_build"

[project]
name = "acme-sides-{name}"
version = "0.1.0"
requires-python = ">=3.11"

[dependency-groups]
test = ["stratakit"]

[tool.uv.build-backend]
module-name = "{name}"

[tool.stratakit.service]
package = "{name}"
needs = []
metadata = "{name}:none"
"""
TESTS = """
import {name}
import pytest


@pytest.mark.parametrize("word", ["a", "b/c::d"])
def test_one(word: str) -> None:
    assert {name}


def test_two() -> None: ...
"""
# Cannot be imported in the environment of another service.
CONFTEST = "import {name}\n"
FAILS = "def test_planted() -> None:\n    assert 1 == 2\n"
PASSES = "def test_planted() -> None: ...\n"
KEEPS = """
import os
import socket
from pathlib import Path


def test_planted_with_a_name_that_is_cut_since_it_is_so_long(tmp_path: Path) -> None:
    with Path({file!r}).open("a", encoding="utf-8") as kept:
        kept.write(f"{{tmp_path}}\\n")
    assert len(os.fsencode(tmp_path / "server-1234.sock")) <= 100
    assert tmp_path.parents[1].stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "server-1234.sock"))
"""
STOPS = "def test_planted() -> None:\n    breakpoint()\n"
BROKEN = "def test_(:\n"


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two small services, in folders with a long path."""
    folder = tmp_path_factory.mktemp("a long way " + "down " * 10)
    baked = bake.into(folder, project_name="Acme Sides")
    # A library without tests has no sessions.
    for other in ("services/gateway", "libs/servicebase/tests"):
        shutil.rmtree(baked.path / other)
    files = {"words/of_nobody.py": PASSES}
    for name in SIDES:
        home = f"services/{name}"
        files |= {
            f"{home}/pyproject.toml": MANIFEST.format(name=name),
            f"{home}/src/{name}/__init__.py": f'"""The service {name}."""\n',
            # The project's critical paths must exist.
            f"{home}/src/{name}/domain.py": '"""Nothing."""\n',
            f"{home}/tests/conftest.py": CONFTEST.format(name=name),
            f"{home}/tests/unit/test_{name}.py": TESTS.format(name=name),
            f"{home}/tests/unit/more/test_more.py": PASSES,
            f"{home}/tests/integration/test_elsewhere.py": PASSES,
        }
    for name, text in files.items():
        (baked.path / name).parent.mkdir(parents=True, exist_ok=True)
        (baked.path / name).write_text(text, encoding="utf-8")
    project = Project(baked.path, baked.answers, baked.environment)
    project.run("uv", "lock", "--quiet")
    return project


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes to the project, reverted after the test."""
    with Changes(project) as changes:
        yield changes


def ran(outcome: Outcome) -> dict[str, int | str]:
    """Return the number of tests run in each service, or the status if there were none."""
    counts: dict[str, int | str] = {}
    for tier in outcome.summary["tiers"]:
        tests = [each for each in outcome.summary["tests"] if each["service"] == tier["service"]]
        counts[tier["service"]] = len(tests) or tier["status"]
    return counts


def typed(project: Project, *words: str, keys: str = "", folder: str = ".") -> Outcome:
    """Run nox in a folder of the project, with keyboard input."""
    environment = project.environment
    done = baking.run(
        *NOX, *words, cwd=project.path / folder, env=environment, check=False, typed=keys
    )
    return Outcome(done.returncode, done.stdout + done.stderr, project.summary())


LEFT, RIGHT = (f"services/{side}/tests/unit/test_{side}.py" for side in SIDES)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((LEFT,), {"left": 3, "right": "empty"}),
        ((f"{LEFT}::test_two",), {"left": 1, "right": "empty"}),
        ((f"{LEFT}::test_one[b/c::d]",), {"left": 1, "right": "empty"}),
        (("{project}/" + LEFT,), {"left": 3, "right": "empty"}),
        (("services/right/tests/unit/more",), {"left": "empty", "right": 1}),
        ((LEFT, RIGHT, "services/right/tests/unit/more"), {"left": 3, "right": 4}),
        (("services/left",), {"left": 4, "right": "empty"}),
        (("services",), {"left": 4, "right": 4}),
        ((".", "-k", "test_two"), {"left": 1, "right": 1}),
        ((LEFT, "-n", "2"), {"left": 3, "right": "empty"}),
        # Values of options that happen to be names of files or folders.
        (("-k", "test_two", "--ignore", LEFT), {"left": "empty", "right": 1}),
        (("-k", "words or test_two"), {"left": 1, "right": 1}),
        (("-k", "words"), {"left": "empty", "right": "empty"}),
        (("--deselect", LEFT, "-x"), {"left": 1, "right": 4}),
        (("-c", "pyproject.toml"), {"left": 4, "right": 4}),
        (("--rootdir", "services"), {"left": 4, "right": 4}),
        (("-p", "stratakit"), {"left": 4, "right": 4}),
        (("-p", "no:cacheprovider"), {"left": 4, "right": 4}),
        (
            ("-n", "2", "--cov", "--cov-config", "pyproject.toml", "--cov-report="),
            {"left": 4, "right": 4},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_each_service_runs_only_its_own_among_the_selected_tests(
    words: tuple[str, ...], expected: dict[str, int | str], project: Project
) -> None:
    outcome = project.nox(
        "-s", "unit", "--", *(word.format(project=project.path) for word in words)
    )
    assert ran(outcome) == expected, outcome.output
    nothing = set(expected.values()) == {"empty"}
    assert outcome.code == (2 if nothing else 0), outcome.output
    for service, count in expected.items():
        passed = f"Session unit({service}) was successful" in outcome.output
        assert passed == (count != "empty"), outcome.output


@pytest.mark.parametrize(
    ("word", "code", "says"),
    [
        ("services/lft/tests/unit/test_left.py", 3, f"did you mean {LEFT}?"),
        ("tests/unit/test_right.py", 3, f"did you mean {RIGHT}?"),
        (f"{LEFT}::test_three", 3, "pytest was called wrongly"),
        (
            "services/left/tests/integration",
            2,
            "no test was selected: found only tests of integration",
        ),
        ("words", 2, "no test was selected by words"),
    ],
)
def test_a_path_without_tests_to_run_is_reported_with_the_reason(
    word: str, code: int, says: str, project: Project
) -> None:
    outcome = project.nox("-s", "unit", "--", word)
    assert outcome.code == code, outcome.output
    assert says in outcome.output


def test_a_folder_with_tests_of_no_tier_is_refused(project: Project, changes: Changes) -> None:
    changes.write("words/test_of_nobody.py", PASSES)
    outcome = project.nox("-s", "unit", "--", "words")
    assert outcome.code == 3, outcome.output
    assert "belongs to no tier" in outcome.output


@pytest.mark.parametrize("word", ["test_left.py", f"../../../../{LEFT}", LEFT])
def test_a_test_path_may_be_relative_to_the_current_folder_or_to_the_project(
    word: str, project: Project
) -> None:
    noxfile = "../../../../noxfile.py"
    folder = "services/left/tests/unit"
    outcome = typed(project, "-f", noxfile, "-s", "unit", "--", word, folder=folder)
    assert outcome.code == 0, outcome.output
    assert ran(outcome) == {"left": 3, "right": "empty"}


def test_static_resolves_paths_from_the_folder_where_nox_was_started(project: Project) -> None:
    words = ("-f", "../../noxfile.py", "-s", "static", "--", "--only", "format", "src")
    outcome = typed(project, *words, folder="services/left")
    assert outcome.code == 0, outcome.output


def test_lf_repeats_only_failed_tests_and_exits_with_2_if_there_are_none(
    project: Project, changes: Changes
) -> None:
    # If tests that failed before no longer exist, `--lf` would run all.
    shutil.rmtree(project.path / ".pytest_cache", ignore_errors=True)
    planted = changes.write("services/left/tests/unit/test_planted.py", FAILS)
    project.nox("-s", "unit")
    again = project.nox("-s", "unit", "--", "--lf")
    assert again.code == 1, again.output
    assert ran(again) == {"left": 1, "right": "empty"}
    planted.write_text(PASSES, encoding="utf-8")
    assert ran(project.nox("-s", "unit", "--", "--lf")) == {"left": 1, "right": "empty"}
    # Nothing failed, so nothing is repeated, and a run without tests never passes.
    nothing = project.nox("-s", "unit", "--", "--lf")
    assert nothing.code == 2, nothing.output
    assert "no test was selected by --lf" in nothing.output
    assert "exit 2 (nothing ran" in nothing.output


@pytest.mark.parametrize("words", [(), ("-n", "2")], ids=["alone", "in workers"])
def test_each_session_has_its_own_temporary_folder_which_is_removed_afterwards(
    words: tuple[str, ...], project: Project, changes: Changes, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    for side in SIDES:
        file = f"services/{side}/tests/unit/test_planted.py"
        changes.write(file, KEEPS.format(file=str(kept)))
    deep = tmp_path / "a temporary folder that is too deep for sockets"
    deep.mkdir()
    for env in ({}, {"TMPDIR": str(deep)}):
        outcome = project.nox("-j", "2", "-s", "unit", "--", *words, env=env)
        assert outcome.code == 0, outcome.output
    folders = kept.read_text(encoding="utf-8").split()
    assert len(set(folders)) == 4
    assert not [folder for folder in folders if Path(folder).exists()]
    assert not [*deep.glob("strata-*")]


@pytest.mark.parametrize(
    ("text", "words", "status", "reason"),
    [
        (STOPS, (), "interrupted", "the run was interrupted: Quitting debugger"),
        (FAILS, ("--pdb",), "failed", "tests failed, and the run was stopped: Quitting debugger"),
        (FAILS, ("--sw",), "failed", "tests failed, and the run was stopped: Test failed"),
        (FAILS, ("-n", "2", "-x"), "failed", "tests failed, and the run was stopped: stopping"),
        (FAILS, ("-x",), "failed", "tests failed"),
        (BROKEN, (), "failed", "tests could not be collected"),
        (BROKEN, ("-n", "2"), "failed", "tests could not be collected"),
        (BROKEN, ("--co",), "failed", "tests could not be collected"),
    ],
)
def test_a_stopped_run_records_its_status_and_reason(
    text: str, words: tuple[str, ...], status: str, reason: str, project: Project, changes: Changes
) -> None:
    changes.write("services/left/tests/unit/test_planted.py", text)
    outcome = typed(project, "-s", "unit(left)", "--", *words, keys="q\n")
    assert outcome.code == 1, outcome.output
    (tier,) = outcome.summary["tiers"]
    assert tier["status"] == status
    assert tier["reason"].startswith(reason)


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("--markers",),
        ("--fixtures",),
        ("--collect-only",),
        ("--co", "-q"),
    ],
    ids=" ".join,
)
def test_options_of_pytest_that_only_print_pass_without_running_tests(
    words: tuple[str, ...], project: Project
) -> None:
    for session in ("unit(left)", "coverage"):
        outcome = project.nox("-s", session, "--", *words)
        assert outcome.code == 0, outcome.output
        assert outcome.summary["summary"]["total"] == 0
        assert "no test was run" in outcome.output


def test_a_run_prints_only_the_path_of_the_summary_among_its_reports(project: Project) -> None:
    outcome = project.nox("-s", "unit")
    assert "generated xml file" not in outcome.output
    named = re.findall(r"see (reports/\S+)", outcome.output)
    assert named == ["reports/summary.json"]
    assert (project.path / "reports/unit/left/junit.xml").exists()


def test_parallel_sessions_with_workers_do_not_interfere(project: Project) -> None:
    for _ in range(3):
        outcome = project.nox("-j", "4", "-s", "unit", "--", "-n", "2")
        assert outcome.code == 0, outcome.output
