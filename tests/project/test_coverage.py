"""The session `coverage`: measurement, gates and exit codes."""

import json
import runpy
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import baking
import jsonschema
import pytest
from baking import Bakery
from project import Change, Changes, Outcome, Project, hide, ready, replace, write

proof = pytest.mark.proof(of="outcomes")

MACHINERY = baking.ROOT / baking.PROJECT / "vendor" / "stratakit" / "src" / "stratakit" / "coverage"
EMBEDDED = {"STRATA_SERVERS": "embedded"}
NOBODY_THERE = {"STRATA_SERVERS": "url", "TEST_DATABASE_URL": "postgresql://me:hush@localhost:1/x"}

SOURCES = {
    "except": (
        "try:\n    a()\nexcept E:\n    b()\n    c()\nelse:\n    d()\nfinally:\n    e()\n",
        {4, 5},
    ),
    "except in one line": ("try: a()\nexcept E: b()\n", {2}),
    "except*": ("try:\n    a()\nexcept* E:\n    b()\n", {4}),
    "raise": ("def f():\n    a()\n    raise E\n", {3}),
    "raise behind a colon": ("if a: raise E\nb()\n", {1}),
    "raise over several lines": ("raise E(\n    1,\n    2,\n)\na()\n", {1, 2, 3, 4}),
    "raise in except is counted once": ("try:\n    a()\nexcept E as e:\n    raise F from e\n", {4}),
    "try in except": (
        "try:\n    a()\nexcept E:\n    try:\n        b()\n    finally:\n        c()\nd()\n",
        {4, 5, 6, 7},
    ),
    "except in finally": (
        "try:\n    a()\nfinally:\n    try:\n        b()\n    except E:\n        c()\n",
        {7},
    ),
    "decorators in except": (
        "try:\n    a()\nexcept E:\n    @b\n    @c\n    def f():\n        d()\n",
        {4, 5, 6, 7},
    ),
    "decorators elsewhere": ("@a\n@b\ndef f():\n    raise E\n", {4}),
    "match": ("match a:\n    case 1:\n        b()\n    case _:\n        raise E\n", {5}),
    "match in except": (
        "try:\n    a()\nexcept E as e:\n    match e:\n        case F():\n            b()\nc()\n",
        {4, 5, 6},
    ),
    "no error path": ("with suppress(E):\n    a()\nassert b\n", set()),
}


@pytest.mark.parametrize("source", SOURCES)
def test_lines_of_error_paths_are_found_in_source_code(source: str) -> None:
    # Not imported: that would leave bytecode in the template.
    error_lines: Callable[[bytes], frozenset[int]]
    error_lines = runpy.run_path(str(MACHINERY / "gates.py"))["error_lines"]
    text, lines = SOURCES[source]
    assert error_lines(text.encode()) == lines


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project that all tests share; each reverts its changes."""
    baked = ready(bake, tmp_path_factory.mktemp("coverage with ä space"), "Acme Lines")
    return Project(baked.path, baked.answers, {**baked.environment, **EMBEDDED})


@pytest.fixture(scope="module")
def measured(project: Project) -> Outcome:
    """Outcome of the session, whose data the other tests check."""
    return project.nox("-s", "coverage")


@pytest.fixture
def changes(project: Project, measured: Outcome) -> Iterator[Changes]:
    """Changes to a measured project, reverted after the test."""
    with Changes(project) as changes:
        yield changes


@proof
def test_a_fresh_project_exceeds_its_coverage_gates(project: Project, measured: Outcome) -> None:
    assert measured.code == 0, measured.output
    schema = json.loads(
        (project.path / "vendor/stratakit/src/stratakit/summary.schema.json").read_text()
    )
    jsonschema.validate(measured.summary, schema)
    tiers = [tier["name"] for tier in measured.summary["tiers"]]
    assert [*dict.fromkeys(tiers)] == ["unit", "integration", "coverage"]
    percent = {name: gate["metrics"]["percent"] for name, gate in gates(measured).items()}
    assert percent.pop("overall") > 95
    assert percent.pop("error paths") > 90
    assert len(percent) > 2
    assert min(percent.values()) > 97


@proof
def test_the_duration_of_coverage_excludes_that_of_the_tiers(measured: Outcome) -> None:
    *tested, coverage = (tier["duration_seconds"] for tier in measured.summary["tiers"])
    assert coverage < sum(tested)


@pytest.fixture
def reports(project: Project, measured: Outcome) -> Path:
    """Folder of the reports on the measured data; other tests overwrite it."""
    outcome = combine(project)
    assert outcome.code == 0, outcome.output
    return project.path / "reports" / "coverage"


@proof
def test_coverage_reports_are_written_as_html_xml_and_markdown(
    project: Project, reports: Path
) -> None:
    assert (reports / "index.html").exists()
    assert "<coverage" in (reports / "coverage.xml").read_text(encoding="utf-8")
    page = (reports / "summary.md").read_text(encoding="utf-8")
    assert "| `overall` |" in page
    assert "| `services/gateway` |" in page
    assert "Error paths are the lines in `except` blocks" in page
    assert list((project.path / "reports").glob(".runs/*")) == []


@proof
@pytest.mark.usefixtures("reports")
def test_coverage_measures_a_service_in_a_separate_process(project: Project) -> None:
    files = report(project)["files"]
    assert files["services/gateway/src/gateway/__main__.py"]["missing_lines"] == []


@proof
def test_coverage_data_contains_only_relative_paths(project: Project, measured: Outcome) -> None:
    for tier in ("unit", "integration"):
        data = project.path / "reports" / tier / "gateway" / "coverage.data"
        with sqlite3.connect(data) as connection:
            paths = [path for (path,) in connection.execute("SELECT path FROM file")]
        connection.close()
        assert paths
        own = ("services/gateway/src/gateway/", "libs/servicebase/src/servicebase/")
        assert all(path.startswith(own) for path in paths)


@proof
def test_combine_judges_existing_data_without_running_tests(
    project: Project, measured: Outcome
) -> None:
    for _ in "twice":
        outcome = combine(project)
        assert outcome.code == 0, outcome.output
        assert [tier["name"] for tier in outcome.summary["tiers"]] == ["coverage"]
        assert gates(outcome) == gates(measured)


MANIFEST = "services/gateway/pyproject.toml"
PLANTED = "services/gateway/src/gateway/planted.py"
WAITS = """
import pathlib, threading

def test_waits() -> None:
    pathlib.Path({file!r}).touch()
    threading.Event().wait()
"""
RAISES = "def f{0}() -> None:\n    raise ValueError({0})\n"
COUNTED = """
def f(a):
    try:
        a()
    except (
        ValueError
    ):
        a(1)
        a(
            2
        )
    except KeyError:  # pragma: no cover
        a(3)
    if a:
        return
        raise RuntimeError("never")
    raise TypeError(
        "x"
    )
    raise KeyError  # pragma: no cover
"""


@proof
def test_error_paths_include_only_lines_that_coverage_counts(
    project: Project, changes: Changes
) -> None:
    before = gates(combine(project))["error paths"]["metrics"]
    changes.write(PLANTED, COUNTED)
    outcome = combine(project)
    after = gates(outcome)["error paths"]["metrics"]
    assert after["lines"] - before["lines"] == 3
    page = (project.path / "reports/coverage/summary.md").read_text(encoding="utf-8")
    assert f"{PLANTED}:8: a(1)\n{PLANTED}:9: a(\n{PLANTED}:17: raise TypeError(\n" in page


def setting(old: str, new: str) -> Change:
    """Return a change to a setting."""
    return replace("pyproject.toml", f"\n{old}", f"\n{new}")


@dataclass(frozen=True)
class Situation:
    """Changes or arguments, with the expected output."""

    name: str
    code: int
    says: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    arguments: tuple[str, ...] = ("--combine",)
    env: Mapping[str, str] = field(default_factory=dict)


SITUATIONS = [
    Situation(
        name="too few lines run",
        code=1,
        says=(
            "FAILED overall: ",
            f"lines short\n       {PLANTED}:1-300\n",
            "coverage: too few lines are covered: overall (7",
        ),
        changes=(write(PLANTED, "X = 1\n" * 300),),
    ),
    Situation(
        name="too few lines of error paths run",
        code=1,
        says=(
            "ok     overall: ",
            "FAILED error paths: ",
            f"       {PLANTED}:2: raise ValueError(0)\n       {PLANTED}:4: raise ValueError(1)\n",
            # The number also depends on the skeleton's lines.
            " more: see index.html",
        ),
        changes=(write(PLANTED, "".join(RAISES.format(number) for number in range(20))),),
    ),
    Situation(
        name="too few lines of a critical path run",
        code=1,
        says=("FAILED critical: services/*/src/*/planted.py: 0 % of 1 lines, 95 % wanted",),
        changes=(
            write(PLANTED, "X = 1\n"),
            replace("pyproject.toml", "src/*/domain.py", "src/*/planted.py"),
        ),
    ),
    Situation(
        name="a file is not valid Python",
        code=1,
        says=(f"{PLANTED} cannot be read as Python",),
        changes=(write(PLANTED, "def f(:\n"),),
    ),
    Situation(
        name="a tier has not been measured",
        code=2,
        says=("there is no reports/unit/gateway/coverage.data", "hint: uv run nox -s coverage"),
        changes=(hide("reports/unit"),),
    ),
    Situation(
        name="the data cannot be read",
        code=2,
        says=("reports/unit/gateway/coverage.data cannot be read",),
        changes=(write("reports/unit/gateway/coverage.data", "no database"),),
    ),
    Situation(
        name="a tier cannot run",
        code=2,
        says=(
            "does not answer",
            "coverage: infrastructure: not judged, since integration(gateway) could not run",
        ),
        changes=(hide("reports/unit"), hide("reports/integration")),
        arguments=("-k", "domain or migration"),
        env=NOBODY_THERE,
    ),
    Situation(
        name="a percentage is above 100",
        code=3,
        says=("overall = 101 in [tool.stratakit.coverage]", "is not a number from 0 to 100"),
        changes=(setting("overall = 80", "overall = 101"),),
        arguments=(),
    ),
    Situation(
        name="a percentage is not a number",
        code=3,
        says=("error_paths = True in",),
        changes=(setting("error_paths = 70", "error_paths = true"),),
    ),
    Situation(
        name="a key is not known",
        code=3,
        says=("has an unknown key overal", "its keys are overall, error_paths"),
        changes=(setting("overall = 80", "overall = 80\noveral = 80"),),
    ),
    Situation(
        name="a key is missing",
        code=3,
        says=("lacks the key overall",),
        changes=(setting("overall = 80", ""),),
    ),
    Situation(
        name="too few lines of a service's own critical path run",
        code=1,
        says=("FAILED critical: services/gateway/src/*/planted.py: 0 % of 1 lines, 95 % wanted",),
        changes=(
            write(PLANTED, "X = 1\n"),
            replace(MANIFEST, "adapters/postgres.py", "planted.py"),
        ),
    ),
    Situation(
        name="a critical path names no file",
        code=3,
        says=("'services/*/src/*/domains.py', which matches no Python file in the src/",),
        changes=(replace("pyproject.toml", "src/*/domain.py", "src/*/domains.py"),),
    ),
    Situation(
        name="a critical path of a service names no file",
        code=3,
        says=(
            "critical in [tool.stratakit.service] of services/gateway/pyproject.toml holds",
            "'services/gateway/src/*/adapters/postgre.py', which matches no Python file in the src/",
        ),
        changes=(replace(MANIFEST, "adapters/postgres.py", "adapters/postgre.py"),),
    ),
    Situation(
        name="a critical path leads out of the project",
        code=3,
        says=("holds '/etc/*.py': ",),
        changes=(replace("pyproject.toml", "services/*/src/*/domain.py", "/etc/*.py"),),
    ),
    Situation(
        name="a test is run by no tier",
        code=3,
        says=("services/gateway/tests/functional/test_a.py belongs to no tier",),
        changes=(write("services/gateway/tests/functional/test_a.py", "def test_a(): ..."),),
    ),
    Situation(
        name="there is no such service",
        code=3,
        says=("there is no service or tested library 'bogus'; there are: gateway",),
        arguments=("--service", "bogus"),
    ),
    Situation(
        name="no service is named",
        code=3,
        says=("argument --package/--service: expected one argument",),
        arguments=("--service",),
    ),
    Situation(
        name="--combine is given options of pytest",
        code=3,
        says=("--combine runs no tests; remove: -k domain",),
        arguments=("--combine", "-k", "domain"),
    ),
]


@proof
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_coverage_exits_with_the_expected_code_and_message(
    situation: Situation, project: Project, changes: Changes
) -> None:
    for change in situation.changes:
        change(changes)
    outcome = project.nox("-s", "coverage", "--", *situation.arguments, env=situation.env)
    assert outcome.code == situation.code, outcome.output
    for said in situation.says:
        assert said in outcome.output
    assert outcome.summary["exit_code"] == situation.code
    assert "Traceback" not in outcome.output


@proof
def test_an_interrupt_is_recorded_for_coverage_and_for_its_tier(
    project: Project, changes: Changes, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    changes.hide("reports/unit")
    changes.write("services/gateway/tests/unit/test_planted.py", WAITS.format(file=str(started)))
    outcome = project.interrupted(
        *("-s", "coverage", "--", "-k", "test_waits"), env={}, when=started
    )
    assert outcome.code == 130, outcome.output
    statuses = {tier["name"]: tier["status"] for tier in outcome.summary["tiers"]}
    assert statuses == {"unit": "interrupted", "coverage": "interrupted"}


@proof
def test_coverage_is_judged_for_all_packages_together_or_for_one_alone(
    project: Project, measured: Outcome, changes: Changes, bake: Bakery
) -> None:
    for added in ("services/billing", "libs/fabric", "uv.lock"):
        changes.hide(added)
    shutil.copytree(changes.hide("reports"), project.path / "reports")
    billing = bake(project_name="Acme Lines", service="billing")
    shutil.copytree(billing.path / "services/billing", project.path / "services/billing")
    changes.write("libs/fabric/pyproject.toml", LIBRARY)
    changes.write("libs/fabric/src/fabric/__init__.py", "X = 1\n")
    project.run("uv", "lock", "--quiet")

    # Like CI: each tier separately, then their combined data. A few tests suffice here.
    few = ("-k", "domain or migration")
    for tier in ("unit", "integration"):
        outcome = project.nox("-s", f"{tier}(billing)", "--", "--cov", "--cov-report=", *few)
        assert outcome.code == 0, outcome.output
    alone = combine(project, "--service", "billing")
    assert packages(project) == {"services/billing"}
    together = combine(project)
    both = {"services/gateway", "libs/servicebase"}
    assert packages(project) == {*both, "services/billing", "libs/fabric"}
    assert total(together) == total(measured) + total(alone) + 1
    assert report(project)["files"]["libs/fabric/src/fabric/__init__.py"]["missing_lines"] == [1]

    outcome = project.nox("-s", "unit(billing)", "--", *few)
    assert outcome.code == 0, outcome.output
    unmeasured = combine(project)
    assert unmeasured.code == 2, unmeasured.output
    assert "there is no reports/unit/billing/coverage.data" in unmeasured.output


LIBRARY = """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "acme-lines-fabric"
version = "0.1.0"
requires-python = ">=3.11"
"""


def combine(project: Project, *arguments: str) -> Outcome:
    """Check the data of earlier runs."""
    return project.nox("-s", "coverage", "--", "--combine", *arguments)


def gates(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Return the result of each gate, by name."""
    tests = outcome.summary["tests"]
    return {test["name"]: test for test in tests if test["tier"] == "coverage"}


def total(outcome: Outcome) -> int:
    """Return the number of lines checked."""
    lines: int = gates(outcome)["overall"]["metrics"]["lines"]
    return lines


def report(project: Project) -> dict[str, Any]:
    """Return coverage's own report."""
    file = project.path / "reports" / "coverage" / "coverage.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def packages(project: Project) -> set[str]:
    """Return the packages in the report."""
    return {"/".join(Path(path).parts[:2]) for path in report(project)["files"]}
