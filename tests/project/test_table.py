"""The team's table of tiers: its changes and additions, and messages for wrong entries."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from baking import Bakery, commit, named, needs_git
from documents import Document
from project import Changes, Project

READ = """
import sys
from stratakit import errors, tiers
try:
    print(*tiers.load(), sep="\\n")
except errors.StrataError as error:
    print(error.message, error.hint, sep="\\n")
    sys.exit(error.code)
"""
DEFAULTS = "from stratakit import tiers; print(*tiers.defaults(), sep='\\n')"
OWN = '[tool.stratakit.tiers.e2e]\nchecks = "all"\npaths = ["tests/e2e"]\n'
PLAIN = '[tool.stratakit]\nproject = "acme"\n'


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which nothing is installed."""
    baked = bake.into(tmp_path_factory.mktemp("table with ä space"))
    sources = {"PYTHONPATH": "vendor/stratakit/src", "PYTHONDONTWRITEBYTECODE": "1"}
    return Project(baked.path, baked.answers, {**baked.environment, **sources})


def read(project: Project, code: str = READ, *, table: str | None = None) -> tuple[int, str]:
    """Return the engine's exit code and output for the project's table, or another one."""
    with Changes(project) as changes:
        if table is not None:
            changes.write("pyproject.toml", PLAIN + table)
        # Isolated from this session's packages: noxfile.py has only the standard library.
        done = project.run(sys.executable, "-S", "-c", code, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_a_project_without_a_table_of_tiers_has_the_default_tiers(
    project: Project,
) -> None:
    fresh = read(project)
    assert fresh == read(project, table="") == read(project, DEFAULTS)
    assert fresh[1].count("Tier(") == 6


def test_changing_some_keys_of_a_tier_keeps_the_others(project: Project) -> None:
    tables = (
        "tiers.unit.budget = 60\ntiers.unit.timeout = 0\n"
        '[tool.stratakit.tiers.infrastructure]\nparallel = true\nscope = "package"\nneeds = []\n'
    )
    code, said = read(project, table=tables)
    assert code == 0
    _, before = read(project, DEFAULTS)
    changed = {line for line in said.splitlines() if line not in before.splitlines()}
    unit, infrastructure = sorted(changed, key=lambda line: "'infrastructure'" in line)
    assert "budget=60, test_budget=0.1, timeout=None" in unit
    assert "paths=('tests/unit', 'tests/contracts')" in unit
    assert (
        "scope='package', paths=('tests/infrastructure',), needs=(), default=False"
        in infrastructure
    )
    assert "parallel=True" in infrastructure


def test_a_custom_tier_has_default_keys_and_comes_last(project: Project) -> None:
    code, said = read(project, table=OWN)
    assert code == 0
    assert said.splitlines()[-1] == (
        "Tier(name='e2e', checks='all', scope='repository', paths=('tests/e2e',), needs=(),"
        " default=False, parallel=False, budget=None, test_budget=None, timeout=None, module=None,"
        " ending=10, group=None)"
    )


@dataclass(frozen=True)
class Wrong:
    """A wrong table, and parts of its message."""

    table: str
    what: str
    hint: str


def key(line: str, what: str, hint: str) -> Wrong:
    """Return a wrong key of the tier unit."""
    where = "in [tool.stratakit.tiers.unit] of pyproject.toml is not"
    return Wrong(f"tiers.unit.{line}", f"{line.partition(' =')[0]} = ", f"{where} {what}\n{hint}")


NUMBER = "write, for example: budget = 60"
WRONG = {
    "an unknown key": Wrong("tires = {}", "unknown key tires", "did you mean tiers?"),
    "an unknown key of a tier": Wrong(
        "tiers.unit.buget = 3",
        "[tool.stratakit.tiers.unit] of pyproject.toml",
        "did you mean budget?",
    ),
    "a tier that is misspelt": Wrong(
        "tiers.integraton.budget = 3",
        "[tool.stratakit.tiers.integraton] of pyproject.toml lacks checks",
        "did you mean integration?",
    ),
    "a tier without tests": Wrong(
        'tiers.e2e.checks = "all"',
        "[tool.stratakit.tiers.e2e] of pyproject.toml lacks paths",
        'paths = ["tests/e2e"]',
    ),
    "tiers that are no table": Wrong("tiers = 3", "is 3, not a table of tiers", "[tool."),
    "a tier that is no table": Wrong("tiers.unit = 3", "unit in [tool.stratakit.tiers]", "[tool."),
    "a text for a number": key('budget = "30"', "a number of seconds, or 0 for none", NUMBER),
    "a flag for a number": key("budget = true", "a number of seconds, or 0 for none", NUMBER),
    "a negative number": key("budget = -1", "a number of seconds, or 0 for none", NUMBER),
    "not a number": key("budget = nan", "a number of seconds, or 0 for none", NUMBER),
    "an infinite number": key("timeout = inf", "a number of seconds, or 0 for none", "write, for"),
    "a number for a flag": key(
        "default = 1", "true or false", "write, for example: default = true"
    ),
    "a text for a flag": key('parallel = "no"', "true or false", "write, for example"),
    "a number for a text": key("checks = 3", "one line of text", "write, for example"),
    "a text of two lines": key('checks = "a\\nb"', "one line of text", "write, for example"),
    "an unknown scope": key(
        'scope = "services"',
        "one of repository, package, service",
        'write, for example: scope = "service"; did you mean service?',
    ),
    "an unknown need": key(
        'needs = ["postgers"]',
        "a list of postgres, redis, docker, terraform, providers, local-cloud, stack, account",
        'write, for example: needs = ["stack"]; did you mean postgres?',
    ),
    "a text for a list": Wrong(
        'tiers.unit.needs = "stack"', "needs = ", "is not a list of postgres"
    ),
    "a list in a list": Wrong("tiers.unit.needs = [[]]", "needs = ", "is not a list of postgres"),
    "a path outside of the project": key(
        'paths = ["../tests"]', "a list of folders below the project or package", "write, for"
    ),
    "an absolute path": key(
        'paths = ["/tests"]', "a list of folders below the project or package", "write, for"
    ),
    "the whole package as a path": key(
        'paths = ["."]', "a list of folders below the project or package", "write, for"
    ),
    "no paths": Wrong(
        "tiers.unit.paths = []", "leaves unit without tests", 'paths = ["tests/unit"'
    ),
    "paths of static": Wrong(
        'tiers.static.paths = ["tests/static"]', "it has no tests", "a tier of your own"
    ),
    "paths of load": Wrong(
        'tiers.load.paths = ["tests/fast"]', "its tests are in tests/load/", "a tier of your own"
    ),
    "a module of load": Wrong(
        'tiers.load.module = "mine"', "has an unknown key module", "its keys are"
    ),
    "a name that is not a valid marker": Wrong(
        '[tool.stratakit.tiers."end to end"]\nchecks = "all"\npaths = ["tests/e2e"]',
        "no tier can be called 'end to end'",
        "use lower-case letters",
    ),
    "a name that is taken": Wrong(
        '[tool.stratakit.tiers.coverage]\nchecks = "all"\npaths = ["tests/e2e"]',
        "no tier can be called 'coverage'",
        "use lower-case letters",
    ),
    "a name of a marker of pytest": Wrong(
        '[tool.stratakit.tiers.skip]\nchecks = "all"\npaths = ["tests/e2e"]',
        "no tier can be called 'skip'",
        "use lower-case letters",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_invalid_table_is_refused_with_the_key_and_a_hint(name: str, project: Project) -> None:
    wrong = WRONG[name]
    code, said = read(project, table=wrong.table)
    assert code == 3, said
    assert wrong.what in said
    assert wrong.hint in said


@pytest.fixture(scope="module")
def installed(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A locked project, with an environment for actions."""
    baked = bake.into(tmp_path_factory.mktemp("own"), named("Acme Table"))
    baked.run("uv", "lock", "--quiet")
    baked.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    environment = {**baked.environment, "STRATA_SERVERS": "embedded"}
    return Project(baked.path, baked.answers, environment)


@pytest.fixture
def changes(installed: Project) -> Iterator[Changes]:
    """Changes to the project, reverted after the test."""
    with Changes(installed) as changes:
        yield changes


TIER, WAY, ACTION = "pyproject.toml", "tests/e2e/test_pages.py", "tasks.py"


def add(installed: Project, changes: Changes, *names: str) -> None:
    """Add to these files the additions that the engine's documents show."""
    guides = installed.path / "vendor" / "stratakit" / "docs"
    told = [
        each for name in ("tiers", "actions") for each in Document(guides / f"{name}.md").blocks
    ]
    blocks = {each.note.removeprefix("added: "): each.text + "\n" for each in told}
    for name in names:
        file = installed.path / name
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        if name == ACTION:
            imports, body = blocks[name].split("\n\n\n", 1)
            text = text.partition("namespace = ")[0].replace(
                "from invoke.collection import Collection",
                f"from invoke.collection import Collection\n{imports}",
            )
            changes.write(name, f"{text}\n{body}")
        else:
            changes.write(name, "\n".join(filter(None, [text, blocks[name]])))


@pytest.mark.slow
def test_a_custom_tier_appears_in_nox_pytest_ci_the_graph_and_the_doctor(
    installed: Project, changes: Changes
) -> None:
    add(installed, changes, TIER, WAY)
    checks = "how the services work together, on the running stack"
    listed = installed.run("nox", "--list").stdout
    assert f"- e2e [slow,stack] -> Check {checks}." in listed
    markers = installed.run(".venv/bin/pytest", "--markers").stdout
    assert markers.count("@pytest.mark.e2e:") == 1
    assert f"@pytest.mark.e2e: {checks}" in markers
    invoke = ".venv/bin/invoke"
    night = installed.run(invoke, "ci.matrix", "nightly").stdout.partition("\n")[0]
    assert json.loads(night.removeprefix("jobs="))[-1] == {
        "session": "e2e",
        "words": "",
        "minutes": 20,
        "stack": True,
        "images": False,
    }
    row = f"| `e2e` | {checks} | the repository | stack | no | 300 s |"
    assert row == installed.run(invoke, "graph").stdout.splitlines()[-1]
    picture = installed.run(invoke, "graph", "--format", "mermaid").stdout
    assert "repository[the repository] --> e2e([e2e])\n    e2e --> stack[(stack)]" in picture
    doctor = json.loads(
        installed.run(invoke, "doctor", "--tier", "e2e", "--json", check=False).stdout
    )
    found = {each["name"]: each["status"] for each in doctor["checks"]}
    assert (found["tests: e2e"], found["stack"], doctor["exit_code"]) == ("ok", "missing", 2)
    assert installed.completed("nox -s e2") == ["e2e "]


@pytest.mark.slow
def test_a_test_of_an_undeclared_tier_belongs_to_no_tier(
    installed: Project, changes: Changes
) -> None:
    add(installed, changes, WAY)
    refused = installed.nox("-s", "unit")
    assert refused.code == 3
    assert f"{WAY} belongs to no tier" in refused.output
    add(installed, changes, TIER)
    moved = changes.write("tests/e3e/test_pages.py", "def test_a() -> None: ...\n")
    assert "tests/infrastructure, tests/e2e or" in installed.nox("-s", "unit").output
    moved.unlink()
    assert "belongs to no tier" not in installed.nox("-s", "unit", "--", "--collect-only").output


@pytest.mark.slow
@pytest.mark.proof(of="stack")
def test_a_tier_that_needs_the_stack_exits_with_2_unless_the_stack_runs(
    installed: Project, changes: Changes
) -> None:
    add(installed, changes, TIER, WAY)
    without = installed.nox("-s", "e2e")
    bare = installed.run(".venv/bin/pytest", "-q", WAY, check=False)
    installed.run(".venv/bin/invoke", "stack.up")
    try:
        done = installed.nox("-s", "e2e")
    finally:
        installed.run(".venv/bin/invoke", "stack.down")
    assert without.code == 2
    assert "no stack runs, and there are tests that need one" in without.output
    assert "hint: uv run invoke stack.up" in without.output
    assert without.summary["tiers"][0]["status"] == "infrastructure"
    assert bare.returncode == 12
    assert done.code == 0, done.output
    assert {test["tier"] for test in done.summary["tests"]} == {"e2e"}
    assert done.summary["summary"]["passed"] == 2


@needs_git
@pytest.mark.slow
def test_a_custom_action_is_listed_run_suggested_and_completed(
    installed: Project, changes: Changes
) -> None:
    add(installed, changes, TIER, WAY, ACTION)
    invoke = ".venv/bin/invoke"
    commit(installed.path)
    assert re.search(
        r"^  news +Show the last changes.$", installed.run(invoke, "--list").stdout, re.MULTILINE
    )
    assert "A commit" in installed.run(invoke, "news").stdout
    wrong = installed.run(invoke, "nwes", check=False)
    assert (wrong.returncode, "did you mean news?" in wrong.stdout + wrong.stderr) == (3, True)
    assert installed.completed("invoke new") == ["news"]
    wrong = installed.run(invoke, "news", "--count", "x", check=False)
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (3, False)
    assert "a flag has an invalid value: invalid literal for int()" in wrong.stderr


@pytest.mark.slow
@pytest.mark.proof(of="outcomes")
def test_documented_additions_pass_ruff_and_pyrefly(installed: Project, changes: Changes) -> None:
    add(installed, changes, TIER, WAY, ACTION)
    for check in (
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("pyrefly", "check"),
    ):
        installed.run(*(f".venv/bin/{check[0]}", *check[1:]), ACTION, WAY)


@pytest.mark.slow
@pytest.mark.proof(of="outcomes")
def test_a_custom_tier_of_services_has_postgres_and_redis(
    installed: Project, changes: Changes
) -> None:
    tests = "services/gateway/tests/deep"
    changes.replace(
        "pyproject.toml",
        "[tool.pytest]\n",
        '[tool.stratakit.tiers.deep]\nchecks = "all"\nscope = "service"\npaths = ["tests/deep"]\n'
        'needs = ["postgres", "redis"]\n\n[tool.pytest]\n',
    )
    changes.write(
        f"{tests}/test_deep.py",
        "def test_a(postgres_url: str, redis_url: str) -> None:\n    assert postgres_url and redis_url\n",
    )
    done = installed.nox("-s", "deep(gateway)")
    assert done.code == 0, done.output
    assert [test["name"] for test in done.summary["tests"]] == [f"{tests}/test_deep.py::test_a"]


@pytest.mark.slow
@pytest.mark.proof(of="outcomes")
def test_a_tier_runs_on_the_requested_python_in_its_own_environment(
    installed: Project, changes: Changes
) -> None:
    """Check that it has its own environment, and does not touch the other."""
    version, folder = another_python(installed)
    changes.write(
        "services/gateway/tests/unit/test_python.py",
        f"import sys\n\n\ndef test_python() -> None:\n    assert sys.version.startswith('{version}.')\n",
    )
    env = {
        "PATH": f"{folder}{os.pathsep}{installed.environment['PATH']}",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    words = ("-s", "unit", "--force-python", version, "--", "-k", "test_python")
    done = installed.nox(*words, env=env)
    assert done.code == 0, done.output
    assert [(each["python"], each["status"]) for each in done.summary["tests"]] == [
        (version, "passed")
    ]
    assert done.summary["tiers"][0]["python"] == version
    assert (installed.path / f".nox/service-gateway@{version}/pyvenv.cfg").exists()
    assert (installed.path / f"reports/unit-{version}/gateway/junit.xml").exists()


@pytest.mark.slow
def test_a_missing_python_is_reported_with_the_command_that_installs_it(installed: Project) -> None:
    done = installed.nox("-s", "unit", "-P", "3.99", env={"UV_PYTHON_DOWNLOADS": "never"})
    assert done.code == 2
    assert (
        "unit-3.99(gateway): infrastructure: there is no Python 3.99 here that works" in done.output
    )
    assert "hint: uv python install 3.99" in done.output


def another_python(installed: Project) -> tuple[str, Path]:
    """Return the version and folder of a Python other than the project's."""
    own = installed.run(".venv/bin/python", "-c", VERSION).stdout.strip()
    found = [Path(each) for each in os.environ["PATH"].split(os.pathsep)]
    found += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    for minor in range(11, 15):
        for folder in found:
            program = shutil.which(f"python3.{minor}", path=str(folder))
            if f"3.{minor}" != own and program and answers(program, f"3.{minor}"):
                return f"3.{minor}", folder
    pytest.skip(f"there is no Python but {own}")  # Others would be downloads from GitHub.


VERSION = "import sys; print(*sys.version_info[:2], sep='.')"


def answers(program: str, version: str) -> bool:
    """Return whether a program is such a Python: version managers have scripts of that name."""
    done = subprocess.run((program, "-c", VERSION), capture_output=True, check=False, text=True)
    return done.stdout.strip() == version
