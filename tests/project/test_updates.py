"""Updates by `cruft update`: across the move of the engine, with a team's edits, of the engine alone."""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import baking
import pytest
from baking import PARTS, PROJECT, ROOT, Bakery, commit, git, needs_git
from project import Project

pytestmark = [needs_git, pytest.mark.timeout(900)]
updates = pytest.mark.proof(of="updates")

MOVE = "The engine moves to vendor/stratakit: renames alone, which updates of projects follow"
"""Message of the commit before which the engine was a workspace member in ops/."""
ENGINE = "vendor/stratakit"
PACKAGE = f"{ENGINE}/src/stratakit"
SCRIPT = f"{ENGINE}/upgrade.py"
UNTOUCHED = "nothing to rename\n"
NEXT = "Next:\n  uv lock\n  uv sync --all-packages --all-groups\n  uv run nox\n"
LATER = "\n\nLATER = 'a line that only the engine has'\n"


@dataclass(frozen=True)
class Upstream:
    """A clone of the template with former and latest commits."""

    path: Path
    former: str
    """The commit before the move of the engine."""
    latest: str

    def show(self, revision: str) -> None:
        """Set the branch that projects follow to a revision."""
        git(self.path, "reset", "--quiet", "--hard", revision)


@pytest.fixture
def upstream(template: Path, tmp_path: Path) -> Upstream:
    """The template with its history, and uncommitted changes as its latest commit."""
    found = "" if not (ROOT / ".git").exists() else git(ROOT, *_FIND)
    if not found:
        pytest.skip("not a clone with the whole history")  # The old commit is needed.
    path = tmp_path / "strata.git"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(path))
    git(path, "checkout", "--quiet", "-B", "main")
    for part in PARTS:
        was, now = path / part, template / part
        shutil.rmtree(was) if was.is_dir() else was.unlink()
        shutil.copytree(now, was) if now.is_dir() else shutil.copy(now, was)
    git(path, "commit", "--quiet", "--allow-empty", "--all", "--message", "What is not committed")
    return Upstream(path, git(path, "rev-parse", f"{found}^"), git(path, "rev-parse", "HEAD"))


_FIND = ("log", "--format=%H", "--fixed-strings", "--max-count=1", f"--grep={MOVE}")


class Team(Project):
    """A project whose team follows the template."""

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a piece of a file, which must exist."""
        text = (self.path / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        (self.path / name).write_text(text.replace(old, new), encoding="utf-8")

    def add(self, name: str, text: str) -> None:
        """Append text to a file, which need not exist."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(text)

    def text(self, name: str) -> str:
        """Return the content of a file."""
        return (self.path / name).read_text(encoding="utf-8")

    def update(self, **answers: str) -> None:
        """Update the project, optionally with other answers, and check that something was updated."""
        words = ("--variables-to-update", json.dumps(answers)) if answers else ()
        said = self.run("cruft", "update", "--skip-apply-ask", *words).stdout
        assert "has been updated" in said

    def upgrade(self) -> tuple[str, str]:
        """Run the script that renames the rest; return its changes, and what is left to do by hand."""
        done = self.run(sys.executable, SCRIPT)
        return done.stdout, done.stderr

    def conflicts(self) -> set[str]:
        """Return the files that an update left to resolve: conflicts and rejected changes."""
        unmerged = git(self.path, "diff", "--name-only", "--diff-filter=U").splitlines()
        others = git(self.path, "ls-files", "--others", "--exclude-standard").splitlines()
        return {*unmerged, *(name for name in others if name.endswith((".rej", ".orig")))}

    def make(self) -> None:
        """Lock the project and create its environment."""
        self.run("uv", "lock", "--quiet")
        self.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")

    def differences_of_the_engine(self) -> list[str]:
        """Return the differences that the check `engine` finds."""
        env = {"PYTHONPATH": f"{ENGINE}/src", "PYTHONDONTWRITEBYTECODE": "1"}
        done = self.run(sys.executable, "-m", "stratakit.manifest", env=env, check=False)
        assert done.returncode == bool(done.stdout), done.stderr
        return done.stdout.splitlines()


Join = Callable[..., Team]


@pytest.fixture
def team(bake: Bakery, tmp_path: Path) -> Join:
    """Bake a project with cruft from a template's current state, without user settings."""
    home = tmp_path / "home"
    home.mkdir()
    own = {"GIT_CONFIG_GLOBAL": str(home / ".gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}

    def team(template: Path, name: str, starter: str = "blank", **more: str) -> Team:
        output = Path(tempfile.mkdtemp(dir=tmp_path))
        environment = {**bake.environment, **own, "STRATA_SERVERS": "embedded"}
        command = ("cruft", "create", str(template), "-y", "--output-dir", str(output))
        answers = {"project_name": name, "starter": starter, **more}
        env = {**environment, "HOME": str(home)}
        baking.run(*command, "--extra-context", json.dumps(answers), cwd=tmp_path, env=env)
        (path,) = output.iterdir()
        commit(path)
        return Team(path, answers, environment)

    return team


CHANGED = (
    "src/gateway/settings.py",
    "src/gateway/api/problem.py",
    "tests/unit/test_cursor.py",
    "tests/integration/test_postgres.py",
)
"""Files of a service changed by its team, some of them moved or gone in the template."""
MONEY = """\
[build-system]
requires = ["uv_build>=0.9,<1"]
build-backend = "uv_build"

[project]
name = "acme-update-money"
version = "0.1.0"
requires-python = ">=3.11"

[dependency-groups]
dev = ["acme-update-ops"]

[tool.uv.sources]
acme-update-ops = { workspace = true }

[tool.uv.build-backend]
module-name = "money"
"""
NIGHT = """\
on: workflow_dispatch
permissions: {}
jobs:
  ours:
    runs-on: ubuntu-24.04
    steps:
      - run: uvx nox -s integration
        env:
          OPS_SERVERS: docker
"""
DOUBLE = '''

def double(number: int) -> int:
    """Return twice the number."""
    return 2 * number
'''
DOUBLES = """

def test_a_number_is_doubled() -> None:
    assert domain.double(2) == 4
"""


@updates
@pytest.mark.timeout(1200)
def test_an_update_over_the_move_of_the_engine_keeps_the_edits_of_a_team(
    upstream: Upstream, team: Join
) -> None:
    upstream.show(upstream.former)
    project = team(upstream.path, "Acme Update")
    project.make()
    commit(project.path)
    added = ("service.add", "billing", "--resource", "invoice")
    project.run(".venv/bin/python", "-m", "invoke", *added)
    project.add("services/gateway/src/gateway/domain.py", DOUBLE)
    project.add("services/gateway/tests/unit/test_domain.py", DOUBLES)
    project.add("libs/money/pyproject.toml", MONEY)
    project.add("libs/money/src/money/__init__.py", '"""Amounts."""\n')
    project.add(".env", "OPS_SERVERS=embedded\n")
    project.add(".github/workflows/ours.yml", NIGHT)
    for file in CHANGED:
        project.add(f"services/gateway/{file}", "\n\n# Ours.\n")
    # As CHANGELOG.md asks of teams that have changed a service.
    project.edit("pyproject.toml", "skip = [", 'skip = ["services", ')
    mine = "timeout: float = 20, interval"
    project.edit("ops/src/ops/testing/waiting.py", "timeout: float = 10, interval", mine)
    commit(project.path)

    upstream.show(upstream.latest)
    project.update()
    assert project.conflicts() == set()
    assert mine in project.text(f"{PACKAGE}/testing/waiting.py")
    without = project.run("uv", "lock", check=False)
    assert (without.returncode, "acme-update-ops" in without.stderr) == (1, True)
    renamed, by_hand = project.upgrade()
    for name in (".env", ".github/workflows/ours.yml", "libs/money/pyproject.toml"):
        assert f"renamed in {name}\n" in renamed
    # Old services, which updates skip, have a lock that a commit releases.
    locked = re.findall(r"services/(\w+)/migrations/env\.py:\d+ locks its transaction", by_hand)
    assert sorted(locked) == ["billing", "gateway"]
    assert by_hand.count("\n") == 2
    assert project.upgrade()[0].startswith(UNTOUCHED)
    assert project.text(".env") == "STRATA_SERVERS=embedded\n"
    assert not (project.path / "ops").exists()

    project.make()
    commit(project.path)
    assert DOUBLE in project.text("services/gateway/src/gateway/domain.py")
    assert all("\n# Ours.\n" in project.text(f"services/gateway/{file}") for file in CHANGED)
    outcome = project.nox("-s", "static", "unit")
    results = {(part["name"], part["status"]) for part in outcome.summary["tiers"]}
    assert {part["service"] for part in outcome.summary["tiers"]} >= {"billing", "gateway"}
    assert results == {("static", "failed"), ("unit", "passed")}, outcome.output
    assert "static: a check failed: engine\n" in outcome.output
    assert "changed: src/stratakit/testing/waiting.py" in outcome.output

    ejected = project.outcome(".venv/bin/python", "-m", "invoke", "engine.eject", "--yes")
    assert ejected.code == 0, ejected.output
    project.make()
    assert mine in project.text("engine/src/stratakit/testing/waiting.py")
    assert project.nox("-s", "unit").code == 0


@updates
@pytest.mark.parametrize("starter", ["blank", "inference"])
def test_updating_an_unchanged_project_gives_a_fresh_bake(
    starter: str, upstream: Upstream, team: Join
) -> None:
    upstream.show(upstream.former)
    project = team(upstream.path, "Acme Same", starter)
    upstream.show(upstream.latest)
    project.update()
    fresh = team(upstream.path, "Acme Same", starter)
    record = {".cruft.json": b""}
    assert {**project.contents(), **record} == {**fresh.contents(), **record}
    assert project.upgrade() == (f"{UNTOUCHED}{NEXT}", "")


@updates
def test_an_update_of_an_older_project_can_choose_its_clouds(
    upstream: Upstream, team: Join
) -> None:
    upstream.show(upstream.former)
    project = team(upstream.path, "Acme Clouds")
    upstream.show(upstream.latest)
    # As CHANGELOG.md says; a team may also change its mind without a newer template.
    for clouds in ("none", "hetzner"):
        project.update(clouds=clouds)
        commit(project.path)
        fresh = team(upstream.path, "Acme Clouds", clouds=clouds)
        record = {".cruft.json": b""}
        assert {**project.contents(), **record} == {**fresh.contents(), **record}


@updates
def test_an_edit_of_the_engine_that_conflicts_with_an_update_is_reported(
    upstream: Upstream, team: Join
) -> None:
    upstream.show(upstream.former)
    project = team(upstream.path, "Acme Clash")
    project.edit(
        "ops/src/ops/tasks/executor.py", "except OpsError as", "except (OpsError, OSError) as"
    )
    project.edit(
        "pyproject.toml", '    "acme-clash-ops",\n', '    "acme-clash-ops",\n    "rich",\n'
    )
    project.add("ops/src/ops/tasks/ours.py", '"""Ours."""\n')
    commit(project.path)
    upstream.show(upstream.latest)
    project.update()
    assert project.conflicts() == {f"{PACKAGE}/tasks/executor.py", "pyproject.toml"}
    _, by_hand = project.upgrade()
    assert by_hand.splitlines() == [
        "look at it by hand: ops/src/ops/tasks/ours.py is where the engine was",
        "look at it by hand: pyproject.toml is in conflict",
        f"look at it by hand: {PACKAGE}/tasks/executor.py is in conflict",
    ]
    # Taking theirs restores the original engine; `static` reports an edit that is kept.
    git(project.path, "checkout", "--theirs", "pyproject.toml", f"{PACKAGE}/tasks/executor.py")
    assert project.differences_of_the_engine() == []
    git(project.path, "checkout", "--ours", f"{PACKAGE}/tasks/executor.py")
    assert project.differences_of_the_engine() == ["changed: src/stratakit/tasks/executor.py"]


@updates
def test_an_update_that_changes_only_the_engine_never_conflicts(
    own_template: Path, team: Join
) -> None:
    checkout = own_template.rename(own_template.with_name("strata.git"))
    commit(checkout)
    project = team(checkout, "Acme Steady")
    for file in sorted(project.files()):
        name = file.relative_to(project.path).as_posix()
        if file.suffix in {".py", ".md", ".yml", ".toml"} and not name.startswith("vendor/"):
            lines = project.text(name).splitlines()
            # The first and last lines conflict with most changes.
            file.write_text("\n".join(["# Ours.", *lines, "# Ours.", ""]), encoding="utf-8")
    before = commit(project.path)
    engine = checkout / PROJECT / PACKAGE
    with (engine / "tiers.py").open("a", encoding="utf-8") as stream:
        stream.write(LATER)
    (engine / "later.py").write_text(LATER, encoding="utf-8")
    (engine / "names.py").rename(engine / "naming.py")
    commit(checkout)
    project.update()
    assert project.conflicts() == set()
    changed = set(git(project.path, "diff", "--name-only", "--no-renames", before).splitlines())
    assert changed == {
        ".cruft.json",
        f"{ENGINE}/manifest.sha256",
        *(f"{PACKAGE}/{name}.py" for name in ("later", "names", "naming", "tiers")),
    }
    # Both bakes that an update compares have a manifest, so it matches the files.
    assert project.differences_of_the_engine() == []


RENAMED = {
    "a.py": (
        "from ops.testing import eventually\n    import ops.settings as s\n",
        "from stratakit.testing import eventually\n    import stratakit.settings as s\n",
    ),
    "qualified.py": ("import ops\nops.graph.T\n", "import stratakit\nstratakit.tiers.T\n"),
    "graph.py": (
        "from ops.graph import Service, Tier\n    from ops.graph import (\n  services,\n    )\n",
        (
            "from stratakit.project import Service\nfrom stratakit.tiers import Tier\n"
            "    from stratakit.project import services\n"
        ),
    ),
    "members.py": (
        "import ops\nops.graph.services()\nops.verdict.SCHEMA\n",
        "import stratakit\nstratakit.project.services()\nstratakit.results.SCHEMA\n",
    ),
    "whole.py": ("from ops import graph\n", "from stratakit import graph\n"),
    "plugin.py": ('P = ["ops.testing.plugin"]\n', 'P = ["stratakit.testing.plugin"]\n'),
    "pyproject.toml": (
        '[tool.ops]\nproject = "shop"\n[tool.ops.static]\n',
        '[tool.stratakit]\nproject = "shop"\n[tool.stratakit.static]\n',
    ),
    "services/a/pyproject.toml": (
        'test = ["shop-ops"]\n\n[tool.uv.sources]\nshop-ops = { workspace = true }\n\n[tool.ops.x]\n',
        'test = ["stratakit"]\n\n[tool.stratakit.x]\n',
    ),
    "services/b/pyproject.toml": (
        "[tool.uv.sources]\nshop-ops = {workspace=true}\ndev-ops = { workspace = true }\n",
        "[tool.uv.sources]\ndev-ops = { workspace = true }\n",
    ),
    ".env": ("OPS_SERVERS=url\n", "STRATA_SERVERS=url\n"),
    "ci.yml": ("python -m ops.static --fix\n", "python -m stratakit.static --fix\n"),
    "way.md": ("`ops/src/ops/graph.py`\n", "`vendor/stratakit/src/stratakit/tiers.py`\n"),
}
KEPT = {
    "b.py": 'for ops in all_of_it:\n    ops.graph.show()\nlabel = "ops.errors"\n',
    "c.yml": "OPS_GENIE_KEY: x\nhost: ops.static.example.org\nmail: a@ops.graph\n",
    "d.md": "They go\nfrom ops to sales, with dev-ops, shop-ops-team and devops/ too.\n",
    "CHANGELOG.md": "[tool.ops] is read.\n",
    "e.py.rej": "+from ops.testing import Service\n",
}


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    """A repository of files that name the engine, with the script in it."""
    folder = tmp_path / "shop"
    for name, text in {**{name: old for name, (old, _) in RENAMED.items()}, **KEPT}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / ENGINE).mkdir(parents=True)
    shutil.copy(template / PROJECT / SCRIPT, folder / ENGINE)
    return folder


def test_the_upgrade_script_renames_mentions_of_the_engine_and_nothing_else(
    repository: Path,
) -> None:
    (repository / ".gitignore").write_text(".env\n", encoding="utf-8")
    (repository / "picture.bin").write_bytes(b"\xff\xfe from ops import")
    (repository / "link.py").symlink_to(repository.parent / "elsewhere.py")
    (repository.parent / "elsewhere.py").write_text("import ops\n", encoding="utf-8")
    (repository / "CODEOWNERS").write_text("/ops/ @platform\n", encoding="utf-8")
    (repository / "migrations").mkdir()
    (repository / "migrations/env.py").write_text("pg_advisory_xact_lock()\n", encoding="utf-8")
    commit(repository)
    command = (sys.executable, SCRIPT)
    done = baking.run(*command, cwd=repository, env=baking.clean_environment())
    for name, (_, new) in RENAMED.items():
        assert (repository / name).read_text(encoding="utf-8") == new
        assert f"renamed in {name}\n" in done.stdout
    for name, text in KEPT.items():
        assert (repository / name).read_text(encoding="utf-8") == text
    assert (repository / "link.py").read_text(encoding="utf-8") == "import ops\n"
    assert (repository / "picture.bin").read_bytes() == b"\xff\xfe from ops import"
    assert done.stderr.splitlines() == [
        "look at it by hand: CODEOWNERS:1 names ops/: /ops/ @platform",
        (
            "look at it by hand: migrations/env.py:1 locks its transaction alone;"
            " servicebase.migrations.run does more: pg_advisory_xact_lock()"
        ),
        "look at it by hand: whole.py:1 names a module that is gone: from stratakit import graph",
        "look at it by hand: e.py.rej was rejected",
    ]
    again = baking.run(*command, cwd=repository, env=baking.clean_environment())
    assert again.stdout.startswith(UNTOUCHED)


@pytest.mark.parametrize(
    ("where", "said"),
    [(".", "git does not list the files"), (ENGINE, "there is no vendor/stratakit/ here")],
)
def test_the_upgrade_script_gives_a_reason_and_changes_nothing_if_it_cannot_run(
    where: str, said: str, repository: Path
) -> None:
    command = (sys.executable, str(repository / SCRIPT))
    env = baking.clean_environment(GIT_CEILING_DIRECTORIES=str(repository.parent))
    done = baking.run(*command, cwd=repository / where, env=env, check=False)
    assert done.returncode == 3
    assert said in done.stderr
    assert "hint: " in done.stderr
    assert (repository / ".env").read_text(encoding="utf-8") == RENAMED[".env"][0]
