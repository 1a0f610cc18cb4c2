"""The git hooks of a project, as `invoke setup` installs them and as git runs them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from baking import Bakery, needs_git
from project import Changes, Project

pytestmark = [pytest.mark.proof(of="places"), needs_git]

# Hooks must not download anything. Only root can disable the network.
OFFLINE = ("unshare", "--net") if shutil.which("unshare") and os.geteuid() == 0 else ()
SOURCE = "services/gateway/src/gateway/planted.py"
TEST = "services/gateway/tests/unit/test_planted.py"
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {"NAME": "T", "EMAIL": "t@example.org"}.items()
}


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after `setup`, with everything committed and a remote."""
    folder = tmp_path_factory.mktemp("hooks with ä space")
    baked = bake.into(folder)
    home = {
        "PRE_COMMIT_HOME": str(folder / "pre-commit"),
        "GIT_CONFIG_GLOBAL": "",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    project = Project(baked.path, baked.answers, {**baked.environment, **IDENTITY, **home})
    project.run("uv", "run", "--all-groups", "--all-packages", "invoke", "setup")
    project.run("git", "init", "--quiet", "--bare", str(folder / "remote.git"))
    project.run("git", "remote", "add", "origin", str(folder / "remote.git"))
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--no-verify", "--message", "Bake")
    return project


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes that are reverted after the test, including commits."""
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    with Changes(project) as changes:
        yield changes
    project.run("git", "reset", "--quiet", "--hard", head)


def commit(project: Project, message: str = "Change") -> "subprocess.CompletedProcess[str]":
    """Commit everything, if the hooks permit it."""
    project.run("git", "add", "--all")
    command = ("git", "commit", "--allow-empty", "--message", message)
    return project.run(*OFFLINE, *command, check=False)


def test_setup_installs_the_hooks_of_each_stage(project: Project) -> None:
    for stage in ("pre-commit", "commit-msg", "pre-push"):
        assert os.access(project.path / ".git" / "hooks" / stage, os.X_OK)


def test_all_files_of_a_fresh_bake_pass_the_hooks_unchanged(project: Project) -> None:
    project.run(*OFFLINE, ".venv/bin/pre-commit", "run", "--all-files")
    assert project.run("git", "status", "--short").stdout == ""


def test_a_fixable_commit_is_fixed_and_refused_and_accepted_when_repeated(
    project: Project, changes: Changes
) -> None:
    planted = changes.write(SOURCE, '"""X."""\nimport os\nX = (1,2)\n')
    refused = commit(project)
    assert refused.returncode == 1
    assert "files were modified by this hook" in refused.stderr
    assert planted.read_text(encoding="utf-8") == '"""X."""\n\nX = (1, 2)\n'
    accepted = commit(project)
    assert accepted.returncode == 0, accepted.stderr


def test_a_commit_with_a_type_error_is_refused_with_a_hint(
    project: Project, changes: Changes
) -> None:
    changes.write(SOURCE, '"""X."""\n\nX: int = ""\n')
    refused = commit(project)
    assert refused.returncode == 1
    assert "[bad-assignment]" in refused.stderr
    assert f"--> {SOURCE}:3:" in refused.stderr
    assert "hint: correct the types" in refused.stderr


def test_an_unfinished_file_that_is_not_committed_does_not_block_a_commit(
    project: Project, changes: Changes
) -> None:
    changes.write(SOURCE, '"""X."""\n\nX: int = ""\n')
    changes.write("libs/servicebase/src/servicebase/planted.py", '"""X."""\n')
    project.run("git", "add", "libs")
    made = project.run(*OFFLINE, "git", "commit", "--message", "Change", check=False)
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize("name", ["README.md.rej", "services/gateway/pyproject.toml.orig"])
def test_a_rejected_change_of_an_update_blocks_every_commit(
    name: str, project: Project, changes: Changes
) -> None:
    changes.write(name, "-1\n+2\n")
    refused = commit(project)
    assert refused.returncode == 1
    assert name in refused.stderr
    assert "apply its changes by hand" in refused.stderr
    project.run("git", "reset", "--quiet")
    changes.write("README.md", "# Edited\n")
    project.run("git", "add", "README.md")
    beside = project.run(*OFFLINE, "git", "commit", "--message", "Change", check=False)
    assert beside.returncode == 1
    assert name in beside.stderr


LONG = "A" * 73


MESSAGES = {
    "a short one": ("Say what was changed", 0),
    "one of 72 letters": ("A" * 72, 0),
    "one of 72 letters that take more bytes": ("日" * 72, 0),
    "a long body": (f"Say what was changed\n\n{LONG}, and why", 0),
    "a merge": (f"Merge branch '{LONG}'", 0),
    "a revert": (f'Revert "{LONG}"', 0),
    "a fixup": (f"fixup! {LONG}", 0),
    "one of 73 letters": (LONG, 1),
    "one of 73 letters that take more bytes": ("日" * 73, 1),
    "a subject of two lines": ("Say what was changed\nand why", 1),
}


@pytest.mark.parametrize(("message", "code"), MESSAGES.values(), ids=MESSAGES)
def test_a_commit_subject_is_limited_to_one_line_of_72_letters(
    project: Project, changes: Changes, message: str, code: int
) -> None:
    done = commit(project, message)
    assert done.returncode == code, done.stderr
    if code:
        assert "git commit -eF .git/COMMIT_EDITMSG" in done.stderr


def test_a_refused_commit_message_can_be_edited_and_reused(
    project: Project, changes: Changes
) -> None:
    changes.write("notes.md", "A note.\n")
    commit(project, f"{LONG}\n\nWhy it was so.")
    # The editor shortens the subject.
    editor = {"GIT_EDITOR": "sed -i.bak 1s/AAAAAAAAAA//"}
    project.run("git", "commit", "-eF", ".git/COMMIT_EDITMSG", env=editor)
    assert project.run("git", "log", "-1", "--format=%b").stdout.strip() == "Why it was so."


def test_a_push_runs_the_unit_tests_and_is_refused_if_they_fail(
    project: Project, changes: Changes
) -> None:
    push = (*OFFLINE, "git", "push", "origin", "HEAD:main")
    project.run(*push)
    changes.write(TEST, "def test_it_fails() -> None:\n    raise AssertionError\n")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--no-verify", "--message", "Break")
    refused = project.run(*push, check=False)
    assert refused.returncode == 1
    assert "uv run nox -s unit" in refused.stdout + refused.stderr
    assert f"{TEST}::test_it_fails" in refused.stdout + refused.stderr
    project.run(*push, "--no-verify")


@pytest.fixture
def worktree(project: Project, tmp_path: Path) -> Iterator[Project]:
    """A linked worktree of the project, without `setup`."""
    path = tmp_path / "linked worktree"
    project.run("git", "worktree", "add", "--quiet", "--detach", str(path))
    yield Project(path, project.answers, project.environment)
    project.run("git", "worktree", "remove", "--force", str(path), check=False)


def test_hooks_run_in_a_linked_worktree_and_after_its_removal(
    project: Project, changes: Changes, worktree: Project
) -> None:
    (worktree.path / "notes.md").write_text("A note.\n", encoding="utf-8")
    worktree.run("git", "add", "--all")
    # Its environment is created when it is first needed.
    accepted = worktree.run("git", "commit", "--message", "Note", check=False)
    assert accepted.returncode == 0, accepted.stderr
    assert "static checks" in accepted.stderr
    worktree.run("uv", "run", "invoke", "setup")
    assert refused_and_accepted(worktree)
    project.run("git", "worktree", "remove", "--force", str(worktree.path))
    assert refused_and_accepted(project)


def test_hooks_run_after_the_project_was_moved(project: Project, changes: Changes) -> None:
    moved = Project(
        project.path.rename(project.path.with_name("moved")), project.answers, project.environment
    )
    try:
        assert refused_and_accepted(moved)
    finally:
        moved.path.rename(project.path)
        project.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")


def refused_and_accepted(project: Project) -> bool:
    """Return whether a hook rejects a file that it has to fix, and then accepts it."""
    (project.path / SOURCE).write_text('"""X."""\n\nX = (1,2)\n', encoding="utf-8")
    codes = [commit(project).returncode, commit(project).returncode]
    return codes == [1, 0]


@pytest.fixture(scope="module")
def git_alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with git but without uv."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "git").symlink_to(shutil.which("git") or "")
    return str(folder)


BROKEN = {
    "uv is not on PATH": ({"PATH": "{git_alone}"}, "python3 -m pip install uv"),
    "no package can be downloaded": (
        {"UV_OFFLINE": "1", "UV_CACHE_DIR": "{empty}"},
        "uv run invoke setup; without this check, add --no-verify",
    ),
}


@pytest.mark.parametrize(("env", "hint"), BROKEN.values(), ids=BROKEN)
def test_a_hook_that_cannot_run_refuses_the_commit_with_a_hint(
    worktree: Project, git_alone: str, tmp_path: Path, env: dict[str, str], hint: str
) -> None:
    known = {"empty": tmp_path / "empty", "git_alone": git_alone}
    variables = {name: value.format(**known) for name, value in env.items()}
    command = ("git", "commit", "--allow-empty", "--message", "Change")
    refused = worktree.run(*command, env=variables, check=False)
    assert refused.returncode == 1
    assert f"hint: {hint}" in refused.stderr


def test_the_doctor_reports_broken_and_missing_hooks(project: Project, git_alone: str) -> None:
    doctor = (".venv/bin/python", "-m", "stratakit.doctor")
    assert "pre-push, run by pre-commit" in project.outcome(*doctor).output
    hook = project.path / ".git" / "hooks" / "pre-push"
    ours = hook.read_text(encoding="utf-8")
    try:
        # pre-commit's own script, with the path of a removed worktree.
        hook.write_text("#!/bin/sh\nexec /gone/python -m pre_commit\n", encoding="utf-8")
        assert "may not work here: pre-push" in project.outcome(*doctor).output
        hook.unlink()
        assert "not installed: pre-push" in project.outcome(*doctor).output
    finally:
        project.run("uv", "run", "invoke", "setup")
    assert hook.read_text(encoding="utf-8") == ours
    assert "uv is not on PATH" in project.outcome(*doctor, env={"PATH": git_alone}).output


def test_hooks_accept_a_commit_from_a_subfolder(project: Project, changes: Changes) -> None:
    changes.write(SOURCE, '"""X."""\n\nX = 1\n')
    project.run("git", "add", "--all")
    inner = Path("services", "gateway")
    project.run("git", "-C", str(inner), "commit", "--quiet", "--message", "From below")
