"""The static tier: findings, messages and exit codes."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from baking import Bakery, git, needs_git
from project import Change, Changes, Project, hide, ready, replace, write

pytestmark = pytest.mark.slow
# Each runs all checks, which the tests of a fresh bake's tiers already do every time.
whole = pytest.mark.proof(of="outcomes")

ENVIRONMENT = ".nox/static"
NO_NETWORK = {"UV_OFFLINE": "1", "UV_NO_CACHE": "1"}
EVERYTHING = ("--all-packages", "--all-groups")

SOURCE = "services/gateway/src/gateway/planted.py"
WORKFLOW_CHECKS = {"workflows", "zizmor", "actionlint"}
WORKFLOW = ".github/workflows/planted.yml"
# Split up, since scanners of this file would rightly report them.
AWS_KEY = "AKIA" + "QYLPMN5HNM4JXCTB"
PRIVATE_KEY = "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEAt3f\n"
PASSWORD = "kT9vQ2" + "xLm4Zp8w"
INJECTION = """
on: pull_request_target
jobs:
  greet:
    runs-on: ubuntu-24.04
    steps:
      - run: echo "${{ github.event.pull_request.title }}"
"""


@dataclass(frozen=True)
class Said:
    """Output, results and exit code of a run of the static tier."""

    code: int
    output: str
    results: Mapping[str, Any]

    def lines(self) -> dict[str, str]:
        """Return the one-word outcome of each listed check, in order."""
        words = [line.split() for line in self.output.splitlines()]
        return {
            line[0]: line[1]
            for line in words
            if len(line) > 2 and line[1] in {"ok", "FAILED", "ABSENT"}
        }


def static(project: Project, *arguments: str, env: Mapping[str, str] | None = None) -> Said:
    """Run the checks as the session does."""
    results = project.path / "results.json"
    python = str(project.path / ENVIRONMENT / "bin" / "python")
    command = (python, "-m", "stratakit.static", "--results", str(results), *arguments)
    done = project.run(*command, env=env, check=False)
    left = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    results.unlink(missing_ok=True)
    return Said(done.returncode, done.stdout + done.stderr, left)


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A locked project with the environment of the static tier, and no git."""
    return locked(bake, tmp_path_factory.mktemp("static with ä space"))


def locked(bake: Bakery, folder: Path, **answers: str) -> Project:
    """Bake and lock a project and make the environment of its static tier."""
    return ready(bake, folder, "Acme Checks", **answers)


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes that are reverted after the test."""
    with Changes(project) as changes:
        yield changes


def both(first: Change, second: Change) -> Change:
    """Return a change that combines two."""
    return lambda changes: (first(changes), second(changes))


@dataclass(frozen=True)
class Situation:
    """Planted mistakes or arguments, with the expected output."""

    name: str
    code: int
    says: tuple[str, ...]
    arguments: tuple[str, ...]
    change: Change | None = None
    env: Mapping[str, str] = field(default_factory=dict)


SITUATIONS = [
    Situation(
        name="a file is not formatted",
        code=1,
        says=("would be reformatted", "hint: uv run nox -s static -- --fix"),
        arguments=("--only", "format"),
        change=write(SOURCE, '"""X."""\nX = (1,2)\n'),
    ),
    Situation(
        name="a file has lint",
        code=1,
        says=("F401", "hint: uv run nox -s static -- --fix"),
        arguments=("--only", "lint"),
        change=write(SOURCE, '"""X."""\n\nimport os\n'),
    ),
    Situation(
        name="a file is not valid Python",
        code=1,
        says=("[parse-error]", f"--> {SOURCE}:1:"),
        arguments=("--only", "types"),
        change=write(SOURCE, "def (\n"),
    ),
    Situation(
        name="a service imports a dependency of its tests",
        code=1,
        says=("DEP004 'httpx2'", "hint: uv add it"),
        arguments=("--only", "dependencies"),
        change=write(SOURCE, '"""X."""\n\nimport httpx2\n'),
    ),
    Situation(
        name="the lock is stale",
        code=3,
        says=("uv.lock is stale", "hint: uv lock"),
        arguments=("--only", "lock"),
        change=replace("vendor/stratakit/pyproject.toml", '"alembic>=1.18"', '"alembic>=1.17"'),
    ),
    Situation(
        name="the lock is missing",
        code=3,
        says=("uv.lock is missing", "hint: uv lock"),
        arguments=("--only", "lock"),
        change=hide("uv.lock"),
    ),
    Situation(
        name="a setting of uv is misspelt",
        code=1,
        says=("exclude-newr", "hint: correct the key"),
        arguments=("--only", "pyproject"),
        change=replace("pyproject.toml", "exclude-newer =", "exclude-newr ="),
    ),
    Situation(
        name="a tool cannot read its settings",
        code=3,
        says=("line-lenght", "hint: correct the settings of ruff"),
        arguments=("--only", "lint"),
        change=replace("pyproject.toml", "line-length = 100", "line-lenght = 100"),
    ),
    Situation(
        name="a workflow is invalid",
        code=1,
        says=(WORKFLOW, "runs-on"),
        arguments=("--only", "workflows"),
        change=write(WORKFLOW, INJECTION.replace("runs-on: ubuntu-24.04", "runs_on: x")),
    ),
    Situation(
        name="a workflow can run the code of a stranger",
        code=1,
        says=("template-injection", "hint: follow its link"),
        arguments=("--only", "zizmor"),
        change=write(WORKFLOW, INJECTION),
    ),
    Situation(
        name="a setting of Dependabot is invalid",
        code=1,
        says=("dependabot.yml", "fortnightly", "hint: correct the key"),
        arguments=("--only", "dependabot"),
        change=replace(".github/dependabot.yml", "weekly", "fortnightly"),
    ),
    Situation(
        name="a time of Renovate has no unit",
        code=1,
        says=("renovate.json", "minimumReleaseAge: 7", "hint: correct the key"),
        arguments=("--only", "renovate"),
        change=replace("renovate.json", '"7 days"', "7"),
    ),
    Situation(
        name="an image is not pinned",
        code=1,
        says=("Dockerfile:1", "DL3006", "hint: follow the rule"),
        arguments=("--only", "hadolint"),
        change=write("libs/planted/Dockerfile", "FROM debian\n"),
    ),
    Situation(
        name="there is the key of an AWS account",
        code=1,
        says=("AWS Access Key", f"{SOURCE}:1\n  hint: revoke and"),
        arguments=("--only", "secrets"),
        change=write(SOURCE, f'KEY = "{AWS_KEY}"\n'),
    ),
    Situation(
        name="there is a private key",
        code=1,
        says=("Private Key", "docs/key.pem:2"),
        arguments=("--only", "secrets"),
        change=write("docs/key.pem", PRIVATE_KEY),
    ),
    Situation(
        name="there is a password",
        code=1,
        says=("Secret Keyword", f"{SOURCE}:1"),
        arguments=("--only", "secrets"),
        change=write(SOURCE, f'DATABASE_PASSWORD = "{PASSWORD}"\n'),
    ),
    Situation(
        name="there is a password in an address",
        code=1,
        says=("Basic Auth Credentials", ".env.example:1"),
        arguments=("--only", "secrets"),
        change=write(".env.example", f"URL=postgresql://app:{PASSWORD}@db.acme.net/app\n"),
    ),
    Situation(
        name="a password is in .env",
        code=0,
        says=("secrets      ok",),
        arguments=("--only", "secrets"),
        change=write(".env", f"DATABASE_PASSWORD={PASSWORD}\n"),
    ),
    Situation(
        name="a tool that the lock pins is missing",
        code=2,
        says=("zizmor is not in the environment", "hint: uv sync"),
        arguments=("--only", "zizmor"),
        change=hide(f"{ENVIRONMENT}/bin/zizmor"),
    ),
    Situation(
        name="an optional tool is absent",
        code=0,
        says=("tflint       ABSENT  it is not on PATH, and tflint cannot be installed",),
        arguments=("--only", "tflint", "--only", "format"),
        env=NO_NETWORK,
    ),
    Situation(
        name="an optional tool is absent but required",
        code=2,
        says=("tflint       ABSENT  though required: it is not on PATH",),
        arguments=("--only", "tflint", "--only", "format", "--require", "tflint"),
        env=NO_NETWORK,
    ),
    Situation(
        name="the settings require a check that is absent",
        code=2,
        says=("renovate     ABSENT  though required: there is no renovate.json",),
        arguments=("--only", "renovate", "--only", "format"),
        change=both(
            replace("pyproject.toml", "require = []", 'require = ["renovate"]'),
            hide("renovate.json"),
        ),
    ),
    Situation(
        name="every requested check is absent",
        code=2,
        says=("no check ran",),
        arguments=("--only", "renovate"),
        change=hide("renovate.json"),
    ),
    Situation(
        name="a check is not known",
        code=3,
        says=("there is no check 'pylint'; there are: lint, format, types,",),
        arguments=("--only", "pylint"),
    ),
    Situation(
        name="a required check is not known",
        code=3,
        says=("there is no check 'pylint'; there are: lint, format, types,",),
        arguments=("--require", "pylint"),
    ),
    Situation(
        name="an option is not known",
        code=3,
        says=("unrecognized arguments: --fixx",),
        arguments=("--fixx",),
    ),
    Situation(
        name="the settings have an unknown key",
        code=3,
        says=(
            "[tool.stratakit.static] of pyproject.toml has an unknown key requires",
            "mean require?",
        ),
        arguments=("--only", "format"),
        change=replace("pyproject.toml", "require = []", "requires = []"),
    ),
    Situation(
        name="a kind of error has another name",
        code=3,
        says=("unknown variant `returns`", "hint: correct the settings of pyrefly"),
        arguments=("--only", "types"),
        change=replace(
            "pyproject.toml", "[tool.pyrefly.errors]", "[tool.pyrefly.errors]\nreturns = true"
        ),
    ),
    Situation(
        name="a setting of Pyrefly does not exist",
        code=3,
        says=("Extra keys found in config: prest", "hint: correct the settings of pyrefly"),
        arguments=("--only", "types"),
        change=replace("pyproject.toml", "[tool.pyrefly]\n", "[tool.pyrefly]\nprest = true\n"),
    ),
    Situation(
        name="a given file does not exist",
        code=3,
        says=("there is no file nowhere.py",),
        arguments=("nowhere.py",),
    ),
]


# Each is reported as what the line's comment says.
MISTAKES = '''"""Mistakes in types."""

from typing import Any, Literal, cast

import nowhere  # missing-import
from gateway.app import FastAPI  # implicit-reexport


class Base:
    """Base of another class."""

    def act(self, x: int) -> str:
        """Return a number as text."""
        return str(x)


class Other(Base):
    """Class that does not fit its base."""

    def act(self, x: str) -> str:  # bad-override
        """Return a text unchanged."""
        return x


def decorate(f):  # implicit-any-parameter, unannotated-return
    """Lack types."""
    return f


@decorate  # untyped-function-decorator
def generic(x: list) -> None:  # implicit-any-type-argument
    """Lack the type of the elements."""


def leak(x: Any) -> int:
    """Return Any."""
    return x  # no-any-return-explicit


def forget(x: str | None) -> str:
    """Forget None."""
    return x.upper()  # missing-attribute


def skip(x: int) -> int:  # bad-return
    """Lack a value and a return."""
    if x:
        y = str(x)
    print(y)  # unbound-name


async def work() -> None:
    """Do not await."""
    work()  # unused-coroutine
    return
    print("never")  # unreachable


def compare(x: int) -> bool:
    """Compare what cannot be equal."""
    return x == "a"  # incompatible-comparison


def match(x: Literal[1, 2]) -> None:
    """Match what cannot be."""
    match x:
        case 3:  # unreachable-match-case
            print(x)


X: int = ""  # bad-assignment
assert compare  # redundant-condition
Y = cast("str", str(X))  # redundant-cast
Base().act("x")  # bad-argument-type
Base().act(1, 2)  # bad-argument-count
Base.act = Other.act  # bad-assignment, method-assign
Z = 1  # type: ignore[assignment]  # unused-type-ignore
Z = 1  # pyrefly: ignore[bad-assignment]  # unused-ignore
'''


def test_the_types_check_finds_what_strict_checkers_find(
    project: Project, changes: Changes
) -> None:
    expected = {
        (number, kind)
        for number, line in enumerate(MISTAKES.splitlines(), 1)
        if "  # " in line
        for kind in line.rpartition("# ")[2].split(", ")
    }
    write(SOURCE, MISTAKES)(changes)
    said = static(project, "--only", "types")
    assert said.code == 1, said.output
    assert "hint: correct the types, or write the reason: # pyrefly: ignore[code]" in said.output
    found = re.findall(rf"\[([a-z-]+)\]\n *--> {SOURCE}:(\d+):", said.output)
    assert {(int(line), kind) for kind, line in found} == expected, said.output


def test_types_are_checked_everywhere_whatever_files_are_given(
    project: Project, changes: Changes
) -> None:
    # What the library changes may be wrong in a service, and each package has its own `tests`.
    changes.replace(
        "libs/servicebase/src/servicebase/logs.py",
        "def configure(level: str,",
        "def configure(level: int,",
    )
    write("services/gateway/tests/unit/test_planted.py", '"""X."""\n\nX: int = ""\n')(changes)
    said = static(project, "--only", "types", "libs/servicebase")
    assert said.code == 1, said.output
    for place in ("services/gateway/src/gateway/bootstrap.py", "tests/unit/test_planted.py:3:"):
        assert place in said.output


@pytest.mark.parametrize(
    "situation",
    SITUATIONS,
    ids=lambda situation: situation.name,
)
def test_static_exits_with_the_expected_code_and_message(
    situation: Situation, project: Project, changes: Changes
) -> None:
    if situation.change:
        situation.change(changes)
    said = static(project, *situation.arguments, env=situation.env)
    assert said.code == situation.code, said.output
    for words in situation.says:
        assert words in said.output
    assert PASSWORD not in said.output


@whole
def test_a_fresh_bake_passes_all_checks_and_lists_them_in_table_order(
    project: Project,
) -> None:
    said = static(project)
    assert said.code == 0, said.output
    script = "from stratakit.static.checks import CHECKS; print(*(each.name for each in CHECKS))"
    table = project.run(f"{ENVIRONMENT}/bin/python", "-c", script).stdout.split()
    assert list(said.lines()) == table
    absent = {each["name"] for each in said.results["absent"]}
    passed = {each["name"] for each in said.results["tests"]}
    assert absent | passed == set(table)
    assert passed >= {"lint", "format", "types", "dependencies", "lock", "secrets", "workflows"}
    assert {name for name, word in said.lines().items() if word == "ABSENT"} == absent


@whole
@pytest.mark.skipif(
    not shutil.which("unshare") or os.geteuid() != 0, reason="only root can take the network away"
)
def test_no_check_needs_a_network_once_its_tool_is_installed(project: Project) -> None:
    static(project)
    shutil.rmtree(project.path / ".nox" / "passed")
    python = str(project.path / ENVIRONMENT / "bin" / "python")
    project.run("unshare", "--net", python, "-m", "stratakit.static")


def test_a_failed_check_is_recorded_with_the_output_of_its_tool(
    project: Project, changes: Changes
) -> None:
    changes.write(SOURCE, '"""X."""\n\nimport os\n')
    changes.hide("renovate.json")
    said = static(project, "--only", "lint", "--only", "format", "--only", "renovate")
    lint, format_ = said.results["tests"]
    assert (lint["name"], lint["status"], lint["metrics"]) == ("lint", "failed", {})
    assert "F401" in lint["error"]
    assert lint["duration"] > 0
    assert (format_["status"], format_["error"]) == ("passed", None)
    assert [each["name"] for each in said.results["absent"]] == ["renovate"]
    assert said.results["reason"] == "a check failed: lint"


def test_checks_of_parts_that_were_not_baked_are_absent_and_do_not_fail(
    bake: Bakery, tmp_path: Path
) -> None:
    project = locked(bake, tmp_path, ci="none")
    said = static(project, *(f"--only={name}" for name in ("format", *WORKFLOW_CHECKS)))
    assert said.code == 0, said.output
    reasons = {each["name"]: each["reason"] for each in said.results["absent"]}
    assert "there is no .github/workflows" in reasons["workflows"]
    assert reasons.keys() == WORKFLOW_CHECKS


@whole
def test_fix_corrects_format_and_lint_before_the_other_checks_run(
    project: Project, changes: Changes
) -> None:
    planted = changes.write(SOURCE, '"""X."""\nimport sys\nimport os\nX = (os.sep,sys.path)\n')
    assert static(project, "--only", "lint", "--only", "format").code == 1
    said = static(project, "--fix")
    assert said.code == 0, said.output
    fixed = '"""X."""\n\nimport os\nimport sys\n\nX = (os.sep, sys.path)\n'
    assert planted.read_text(encoding="utf-8") == fixed
    # The formatter, which runs later, wraps the line that is too long for the linter.
    changes.write(SOURCE, f'"""X."""\n\nX = [{"1, " * 40}]\n')
    said = static(project, "--fix", SOURCE)
    assert said.code == 0, said.output
    changes.write(SOURCE, "X = 1\n")
    said = static(project, "--fix", SOURCE)
    assert said.code == 1
    assert "D100" in said.output
    assert "hint: correct by hand what it names" in said.output


@whole
def test_static_with_files_runs_only_the_checks_that_concern_them(
    project: Project, changes: Changes
) -> None:
    changes.write(SOURCE, '"""X."""\n\nimport os\n')
    assert list(static(project, "README.md").lines()) == ["secrets"]
    others = static(project, "noxfile.py", "tasks.py")
    assert others.code == 0, others.output
    assert others.lines().keys() == {"lint", "format", "types", "versions", "secrets"}
    assert static(project, "services").code == 1


@needs_git
def test_static_checks_untracked_files_but_not_ignored_ones(bake: Bakery, tmp_path: Path) -> None:
    project = locked(bake, tmp_path)
    git(project.path, "init", "--quiet")
    with Changes(project) as changes:
        changes.write("scratch/.gitignore", "*.local\n")
        changes.write("scratch/key.local", PRIVATE_KEY)
        assert static(project, "--only", "secrets").code == 0
        changes.write("scratch/key.pem", PRIVATE_KEY)
        assert "scratch/key.pem:2" in static(project, "--only", "secrets").output


def test_a_tool_on_path_is_used(project: Project, changes: Changes, tmp_path: Path) -> None:
    program = tmp_path / "tflint"
    # Not the path of our own Python: a space in it would break the shebang.
    program.write_text(
        "#!/usr/bin/env python3\nimport sys\nprint(sys.argv)\nsys.exit('--init' not in sys.argv)\n"
    )
    program.chmod(0o755)
    path = os.pathsep.join((str(tmp_path), project.environment["PATH"]))
    said = static(project, "--only", "tflint", env={"PATH": path})
    assert said.code == 1
    assert f"'--chdir={project.path / 'infra' / 'terraform'}'" in said.output


@whole
def test_a_passed_slow_check_is_repeated_only_after_a_file_that_it_reads_changes(
    project: Project, changes: Changes
) -> None:
    only = ("--only", "terraform")
    assert static(project, *only).code == 0
    assert "terraform    ok      unchanged" in static(project, *only).output
    file = "infra/terraform/naming/main.tf"
    text = (project.path / file).read_text(encoding="utf-8")
    changes.write(file, f"{text}  # an indented comment\n")
    # A failed check runs again, and so does one whose file was restored.
    for _ in range(2):
        failed = static(project, *only)
        assert failed.code == 1
        assert "infra/terraform/naming/main.tf" in failed.output
    assert static(project, *only, "--fix").code == 0
    assert "unchanged" not in static(project, *only).output
    assert "unchanged" in static(project, *only).output
    # A moved file counts as changed, even with the same neighbours.
    module = project.path / "infra" / "terraform" / "naming"
    moved = module.rename(module.with_name("names"))
    try:
        assert "unchanged" not in static(project, *only).output
    finally:
        moved.rename(module)


def test_the_worst_exit_code_of_the_checks_wins(project: Project, changes: Changes) -> None:
    changes.write(SOURCE, '"""X."""\n\nimport os\n')
    changes.hide("uv.lock")
    changes.hide("renovate.json")
    arguments = ("--only", "lint", "--only", "lock", "--only", "renovate", "--require", "renovate")
    assert static(project, *arguments).code == 3
    assert static(project, "--only", "lint", *arguments[4:]).code == 2


@whole
def test_output_outside_a_terminal_has_no_colours_even_if_forced(
    project: Project, changes: Changes
) -> None:
    changes.write(SOURCE, '"""X."""\n\nimport os\nX: int = ""\n')
    said = static(project, "--only", "lint", "--only", "types", env={"FORCE_COLOR": "1"})
    assert said.code == 1
    assert "\x1b" not in said.output + json.dumps(said.results)


@pytest.mark.parametrize("persona", ["regular", "pedantic", "auditor"])
def test_zizmor_accepts_the_workflows_in_each_persona(project: Project, persona: str) -> None:
    project.run(f"{ENVIRONMENT}/bin/zizmor", "--offline", f"--persona={persona}", ".github")
