"""Location of a project: copied, moved, behind a link, in a bigger repository."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from baking import Bake, Bakery, git, needs_git
from project import Changes, Project

pytestmark = [pytest.mark.proof(of="places"), needs_git]

EVERYTHING = ("--all-packages", "--all-groups")
REINSTALL = ("uv", "sync", *EVERYTHING, "--reinstall")
GRAPH = ("uv", "run", "invoke", "graph")
UNIT = "services/gateway/tests/unit"
PLANTED = f"{UNIT}/test_planted.py"
EMBEDDED = {"STRATA_SERVERS": "embedded"}
RELOCATABLE = 'preview-features = ["relocatable-envs-default"]\n'
HERE = """
from pathlib import Path
import gateway, stratakit

def test_the_code_of_this_folder_is_tested() -> None:
    here = Path(__file__).resolve().parents[4]
    assert Path(gateway.__file__).is_relative_to(here)
    assert Path(stratakit.__file__).is_relative_to(here)
"""


def made_ready(bake: Bakery, folder: Path, *, relocatable: bool = True) -> Project:
    """Bake a project, and create the environments that a copy includes."""
    baked = bake.into(folder)
    env = {**baked.environment, "GIT_CONFIG_GLOBAL": "", "GIT_CONFIG_NOSYSTEM": "1"}
    project = Project(baked.path, baked.answers, env)
    if not relocatable:
        # Like environments of older versions of uv, or of older bakes.
        text = (project.path / "pyproject.toml").read_text(encoding="utf-8")
        assert RELOCATABLE in text
        (project.path / "pyproject.toml").write_text(text.replace(RELOCATABLE, ""), "utf-8")
    project.run("uv", "run", "invoke", "setup")
    return project


@pytest.fixture(scope="module")
def original(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A used project, which tests do not change."""
    project = made_ready(bake, tmp_path_factory.mktemp("original with ä space"))
    assert project.nox("-s", "unit", "--", "-k", "domain").code == 0
    return project


@pytest.fixture(scope="module")
def copied(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """An unused copy, in which tests do nothing."""
    return copy(original, tmp_path_factory.mktemp("copied"))


def copy(project: Project, folder: Path) -> Project:
    """Copy a project, including its environments."""
    path = shutil.copytree(project.path, folder / "the copy", symlinks=True)
    return Project(path, project.answers, project.environment)


def changed(project: Project) -> dict[str, bytes]:
    """Return the content of a project, except files that runs create."""
    made = {".venv", ".nox", "reports", "uv.lock"}
    return {
        name: content
        for name, content in project.contents().items()
        if not made & {*Path(name).parts} and "__pycache__" not in name
    }


WAYS = {
    "its own Invoke": ((".venv/bin/invoke", "graph"), 3),
    "its own doctor": ((".venv/bin/python", "-m", "stratakit.doctor", "--tier", "unit"), 3),
    "its own checks": ((".venv/bin/python", "-m", "stratakit.static", "--only", "lint"), 3),
    "its own pytest": ((".venv/bin/pytest", UNIT), 13),
    "Invoke of the original": (("{original}/.venv/bin/invoke", "setup"), 3),
    "pytest of the original": (("{original}/.venv/bin/pytest", UNIT), 13),
    "checks of the original": (("{original}/.venv/bin/python", "-m", "stratakit.static"), 3),
    "uv run with --no-sync": (("uv", "run", "--no-sync", "invoke", "graph"), 3),
    "Invoke of the original, from there": (
        ("env", "-C", "{original}", ".venv/bin/invoke", "--search-root", "{copied}", "setup"),
        3,
    ),
}


@pytest.mark.parametrize(("command", "code"), WAYS.values(), ids=WAYS)
def test_commands_that_would_act_on_the_original_are_refused_in_a_copy(
    original: Project, copied: Project, command: tuple[str, ...], code: int
) -> None:
    before = changed(copied), changed(original)
    words = [word.format(original=original.path, copied=copied.path) for word in command]
    done = copied.run(*words, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == code, said
    assert f"would work on the one in {original.path}" in said
    assert f"in {copied.path}: {' '.join(REINSTALL)}" in said
    assert (changed(copied), changed(original)) == before


def test_a_copy_acts_on_itself_even_if_the_originals_environment_is_active(
    original: Project, tmp_path: Path
) -> None:
    twin, before = copy(original, tmp_path), changed(original)
    (twin.path / ".env").unlink()
    active = original.path / ".venv"
    env = {
        "VIRTUAL_ENV": str(active),
        "PATH": f"{active / 'bin'}:{twin.environment['PATH']}",
    }
    (twin.path / PLANTED).write_text(HERE, encoding="utf-8")
    # First, while the copied environments are untouched.
    outcome = twin.nox("-s", "unit", "--", PLANTED, env=env)
    assert outcome.code == 0, outcome.output
    twin.run("uv", "run", "invoke", "setup", env=env)
    assert (twin.path / ".env").exists()
    for tool in (".venv/bin/invoke", "doctor"), (".venv/bin/pytest", PLANTED):
        outcome = twin.outcome(*tool)
        assert outcome.code == 0, outcome.output
    assert changed(original) == before


def test_a_moved_project_reports_its_stale_environment_and_works_with_uv_run(
    original: Project, tmp_path: Path
) -> None:
    twin = copy(original, tmp_path)
    twin.run("uv", "sync", "--quiet", *EVERYTHING)
    moved = Project(twin.path.rename(tmp_path / "moved"), twin.answers, twin.environment)
    stale = moved.outcome(".venv/bin/invoke", "graph")
    assert stale.code == 2, stale.output
    assert f"hint: {' '.join(REINSTALL)}" in stale.output
    for action in ("doctor", "setup"):
        outcome = moved.outcome("uv", "run", "invoke", action)
        assert outcome.code == 0, outcome.output
    (moved.path / PLANTED).write_text(HERE, encoding="utf-8")
    outcome = moved.nox("-s", "unit", "--", PLANTED)
    assert outcome.code == 0, outcome.output


def test_scripts_that_start_the_original_are_reported_and_reinstalled(
    bake: Bakery, tmp_path: Path
) -> None:
    first = made_ready(bake, tmp_path / "it's first", relocatable=False)
    assert first.nox("-s", "static", "--", "--only", "lint").code == 0
    twin = copy(first, tmp_path)
    # uv repairs the workspace's packages, but not the scripts.
    refused = twin.outcome(*GRAPH)
    assert refused.code == 3, refused.output
    assert f"would work on the one in {first.path}" in refused.output
    doctor = twin.outcome(
        "python3", "-m", "stratakit.doctor", env={"PYTHONPATH": "vendor/stratakit/src"}
    )
    assert ".venv was copied or moved here" in doctor.output
    outcome = twin.nox("-s", "static", "--", "--only", "lint")
    assert outcome.code == 0, outcome.output
    assert str(twin.path / ".nox") in (twin.path / ".nox/static/bin/deptry").read_text("utf-8")
    twin.run(*REINSTALL)
    assert twin.outcome(*GRAPH).code == 0
    # Not reinstalled each time.
    assert "--reinstall" not in twin.nox("-s", "static", "--", "--only", "lint").output


@pytest.fixture
def link(original: Project, tmp_path: Path) -> Path:
    """A symbolic link to the original."""
    (tmp_path / "link").symlink_to(original.path)
    return tmp_path / "link"


@pytest.mark.parametrize(
    "root", [(), ("--rootdir", "{link}")], ids=["without rootdir", "with the rootdir of an editor"]
)
def test_a_test_can_be_selected_through_a_symbolic_link(
    original: Project, link: Path, root: tuple[str, ...]
) -> None:
    options = [word.format(link=link) for word in root]
    done = original.run(".venv/bin/pytest", *options, "-v", f"{link}/{UNIT}/test_domain.py")
    assert f"{UNIT}/test_domain.py::test_" in done.stdout


def test_integration_tests_selected_through_a_link_have_their_servers(
    original: Project, link: Path
) -> None:
    file = "services/gateway/tests/integration/test_http.py"
    outcome = original.nox("-s", "integration", "--", f"{link}/{file}", env=EMBEDDED)
    assert outcome.code == 0, outcome.output
    assert {each["name"].partition("::")[0] for each in outcome.summary["tests"]} == {file}


def test_commands_work_through_a_link_and_from_a_subfolder(original: Project, link: Path) -> None:
    through = Project(link, original.answers, original.environment)
    for command in (
        (".venv/bin/invoke", "graph"),
        (".venv/bin/invoke", "--search-root", str(link), "graph"),
        (".venv/bin/python", "-m", "stratakit.static", "--only", "lint", f"{link}/noxfile.py"),
        ("nox", "-f", f"{link}/noxfile.py", "-s", "unit", "--", "-k", "domain"),
    ):
        outcome = through.outcome(*command)
        assert outcome.code == 0, outcome.output
    below = original.run("env", "-C", UNIT, "uv", "run", "invoke", "graph", "--format", "json")
    assert '"gateway"' in below.stdout


def configured(key: str, value: str) -> dict[str, str]:
    """Return variables that give git a setting, like one of its user."""
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": value}


def test_setup_installs_no_hooks_if_the_user_has_set_core_hookspath(original: Project) -> None:
    env = configured("core.hooksPath", "/home/ann/hooks")
    outcome = original.outcome("uv", "run", "invoke", "setup", env=env)
    assert outcome.code == 0, outcome.output
    assert "hooks: not installed: core.hooksPath is /home/ann/hooks" in outcome.output
    assert "let them call: uv run nox -s static unit" in outcome.output


def test_setup_refuses_another_users_repository_and_leaves_its_config(original: Project) -> None:
    before = (original.path / ".git" / "config").read_bytes()
    env = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    outcome = original.outcome(".venv/bin/invoke", "setup", env=env)
    assert outcome.code == 2, outcome.output
    assert "it belongs to another user" in outcome.output
    assert "hint: git config --global --add safe.directory" in outcome.output
    assert (original.path / ".git" / "config").read_bytes() == before


def test_setup_and_doctor_report_a_broken_git_config_and_leave_it_unchanged(
    original: Project,
) -> None:
    config = original.path / ".git" / "config"
    before = config.read_bytes()
    config.write_text("[core", encoding="utf-8")
    try:
        for action in ("setup", "doctor"):
            outcome = original.outcome(".venv/bin/invoke", action)
            assert outcome.code == (2 if action == "setup" else 0), outcome.output
            assert "git cannot tell whether" in outcome.output
            assert "bad config" in outcome.output
        assert config.read_text(encoding="utf-8") == "[core"
    finally:
        config.write_bytes(before)


def test_git_lists_files_that_clones_need_despite_the_users_global_excludes(
    original: Project, tmp_path: Path
) -> None:
    ignored = tmp_path / "ignored"
    ignored.write_text(".env*\n*.lock\nvendor\n", encoding="utf-8")
    env = configured("core.excludesFile", str(ignored))
    listed = original.run("git", "ls-files", "-co", "--exclude-standard", env=env).stdout.split()
    assert {".env.example", ".env.test", "uv.lock", "vendor/stratakit/pyproject.toml"} <= {*listed}
    assert ".env" not in listed


HOOK = "#!/bin/sh\necho the hook of the bigger repository\n"


@pytest.fixture(scope="module")
def bigger(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in a folder of a larger repository with its own hook and configuration."""
    top = tmp_path_factory.mktemp("bigger")
    git(top, "init", "--quiet")
    hook = top / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK, encoding="utf-8")
    hook.chmod(0o755)
    (top / ".pre-commit-config.yaml").write_text("repos: []\n", encoding="utf-8")
    project = made_ready(bake, top / "back end")
    git(top, "add", "--all")
    return project


@pytest.fixture
def changes(bigger: Project) -> Iterator[Changes]:
    """Changes that are reverted after the test."""
    with Changes(bigger) as changes:
        yield changes


def top(project: Bake) -> Path:
    """Return the folder of the bigger repository."""
    return project.path.parent.parent


def hooks(project: Bake) -> dict[str, str]:
    """Return the hooks of the bigger repository."""
    files = (top(project) / ".git" / "hooks").iterdir()
    return {file.name: file.read_text("utf-8") for file in files if file.suffix != ".sample"}


def doctor(project: Project) -> str:
    """Return the doctor's report on the hooks."""
    said = project.outcome(".venv/bin/invoke", "doctor").output
    return said.partition("\nhooks ")[2].partition("\nterraform ")[0]


def test_setup_in_a_bigger_repository_keeps_its_hooks(bigger: Project) -> None:
    said = bigger.run("uv", "run", "invoke", "setup").stdout
    assert hooks(bigger) == {"pre-commit": HOOK}
    assert (top(bigger) / ".pre-commit-config.yaml").read_text("utf-8") == "repos: []\n"
    place = f"back end/{bigger.path.name}"
    for text in (said, doctor(bigger)):
        assert f"not installed: the project is in {place}/ of a bigger repository" in text
        assert f"uv run --directory '{place}' nox -s static unit" in text


def test_hooks_that_block_a_bigger_repository_are_reported_and_removed(bigger: Project) -> None:
    # Earlier versions of the template installed hooks like this.
    bigger.run("uv", "run", "pre-commit", "install")
    assert {"pre-commit", "commit-msg", "pre-push", "pre-commit.legacy"} == hooks(bigger).keys()
    assert "nobody can commit" in doctor(bigger)
    bigger.run("uv", "run", "invoke", "setup")
    assert hooks(bigger) == {"pre-commit": HOOK}
    git(top(bigger), "commit", "--message", "From above")


def test_the_suggested_nox_command_runs_from_the_bigger_repository(bigger: Project) -> None:
    place = os.path.relpath(bigger.path, top(bigger))
    command = ("uv", "run", "--directory", place, "nox", "-s", "static", "--", "--only", "lint")
    above = Project(top(bigger), bigger.answers, bigger.environment)
    outcome = above.outcome(*command)
    assert outcome.code == 0, outcome.output
