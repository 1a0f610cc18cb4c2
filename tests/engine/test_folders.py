"""Folders in a bad state, repaired if they are ours, and otherwise reported by every command."""

import os
import secrets
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stratakit import git, pyproject
from stratakit.errors import InfrastructureError
from stratakit.servers import binaries, home
from stratakit.stack import record

from .scratch import INVOKE, PYTEST, Scratch

ROOT_ALONE = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root mounts folders, and runs servers as another user"
)
TEST = "def test_it(postgres_url):\n    assert postgres_url\n"
UMASK = "import os; os.umask(0o{:o})\n"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Scratch]:
    with Scratch(tmp_path) as scratch:
        (scratch.tests / "test_it.py").write_text(TEST)
        yield scratch


@pytest.fixture
def mounted() -> Iterator[Callable[..., None]]:
    """Mount an empty file system on a folder, with options, until the test is over."""
    there: list[Path] = []

    def mount(folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        words = ",".join(("size=300m", "mode=711", *options))
        subprocess.run(["mount", "-t", "tmpfs", "-o", words, "tmpfs", folder], check=True)
        there.append(folder)

    yield mount
    for folder in there:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_servers_start_under_a_strict_umask(umask: int, project: Scratch) -> None:
    outcome = project.start(UMASK.format(umask) + INVOKE, "stack.status").wait()
    outcome = project.start(UMASK.format(umask) + INVOKE, "db").wait()
    assert outcome.code == 0, outcome.said
    assert project.start(UMASK.format(umask) + INVOKE, "db.reset", "--yes").wait().code == 0


def test_folders_created_under_a_strict_umask_are_repaired(project: Scratch) -> None:
    project.green("db")
    project.down()
    for folder in (project.cache, *project.cache.iterdir(), *project.cache.rglob("programs*/**")):
        if folder.is_dir():
            folder.chmod(0o700)
    for file in project.cache.glob("*/programs/**/bin/*"):
        file.chmod(0o700)
    project.green("db")
    (server,) = project.cache.glob("pg-*")
    assert stat.S_IMODE(server.stat().st_mode) == 0o711


@pytest.mark.parametrize("closed", ["", "lib", "lib/bin", "lib/bin/program"])
def test_file_modes_are_repaired_only_if_the_path_to_the_program_is_closed(
    closed: str, tmp_path: Path
) -> None:
    folder = tmp_path / "programs"
    program, data = folder / "lib/bin/program", folder / "share/data"
    for file, mode in ((program, 0o755), (data, 0o600)):
        file.parent.mkdir(parents=True)
        file.touch()
        file.chmod(mode)
    for each in (folder, *folder.rglob("*/")):
        each.chmod(0o755)
    data.chmod(0o600)
    binaries.open_up(folder, program)
    assert stat.S_IMODE(data.stat().st_mode) == 0o600
    (folder / closed).chmod(0o700)
    binaries.open_up(folder, program)
    assert stat.S_IMODE(data.stat().st_mode) == 0o644
    assert stat.S_IMODE((folder / closed).stat().st_mode) == 0o755
    # Programs outside the folder, such as the system's, are not changed.
    binaries.open_up(tmp_path / "none", program)


@pytest.mark.parametrize("kind", ["pg", "redis"])
def test_a_server_log_that_cannot_be_written_is_an_infrastructure_error(
    kind: str, project: Scratch
) -> None:
    project.green("stack.clean", "--yes")
    project.python(
        "from stratakit import servers, settings\nwith servers.lease(settings.load()): pass"
    )
    project.down()
    (server,) = project.cache.glob(f"{kind}-*")
    shutil.rmtree(server / "server.log", ignore_errors=True)
    (server / "server.log").unlink(missing_ok=True)
    # Nobody, not even root, can write to a folder as if it were a file.
    (server / "server.log").mkdir()
    outcome = project.start(PYTEST, str(project.tests)).wait()
    assert outcome.code == 12, outcome.said
    assert "INTERNALERROR" not in outcome.said
    assert "Traceback" not in outcome.said
    name = {"pg": "postgres", "redis": "redis"}[kind]
    assert f"infrastructure: the embedded {name} cannot be set up: " in outcome.said
    assert "server.log" in outcome.said
    (server / "server.log").rmdir()
    assert project.pytest(str(project.tests)).code == 0


def test_an_os_error_in_an_action_is_reported_without_a_traceback(
    project: Scratch,
) -> None:
    (project.cache / "stack").write_text("in the way")
    outcome = project.invoke("stack.up")
    (project.cache / "stack").unlink()
    assert outcome.code == 2, outcome.said
    assert "infrastructure: up cannot go on: " in outcome.said
    assert "Traceback" not in outcome.said


@ROOT_ALONE
def test_a_cache_mounted_noexec_is_reported_by_actions_and_doctor(
    project: Scratch, mounted: Callable[..., None]
) -> None:
    mounted(project.cache, "noexec")
    for action in ("db", "doctor"):
        outcome = project.invoke(action)
        assert outcome.code == 2 or action == "doctor", outcome.said
        assert "is mounted noexec" in outcome.said
        assert "remount,rw,exec" in outcome.said
    outcome = project.start(PYTEST, str(project.tests)).wait()
    assert outcome.code == 12, outcome.said
    assert "INTERNALERROR" not in outcome.said


@ROOT_ALONE
@pytest.mark.parametrize(
    ("options", "says"), [("size=4k", "No space left"), ("ro", "Read-only file system")]
)
def test_a_full_or_read_only_cache_is_reported_by_actions_and_doctor(
    options: str, says: str, project: Scratch, mounted: Callable[..., None]
) -> None:
    mounted(project.cache, options)
    for action in ("db", "stack.up", "doctor"):
        outcome = project.invoke(action)
        assert outcome.code == 2 or action == "doctor", outcome.said
        assert says in outcome.said, outcome.said
        assert "Traceback" not in outcome.said
    outcome = project.start(PYTEST, str(project.tests)).wait()
    assert outcome.code == 12, outcome.said
    assert "INTERNALERROR" not in outcome.said


@ROOT_ALONE
def test_a_folder_closed_to_the_servers_user_is_refused_with_a_hint(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(InfrastructureError, match="the servers' user nobody cannot enter") as told:
        home.refuse_closed(closed / "acme-0")
    assert told.value.hint.startswith("chmod o+x ")


def test_a_new_folder_gets_the_required_mode_and_an_existing_one_keeps_its_own(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "some" / "where"
    before = os.umask(0o077)
    try:
        home.made(folder, 0o711)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o711
    folder.chmod(0o755)
    home.made(folder, 0o700)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_repository_that_git_cannot_read_is_an_error_and_a_missing_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not git.is_repository(tmp_path)
    git.git(tmp_path, "init", "--quiet")
    assert git.is_repository(tmp_path)
    (tmp_path / ".git" / "config").write_text("[core", encoding="utf-8")
    with pytest.raises(InfrastructureError, match=r"cannot tell whether .* is in a repository"):
        git.is_repository(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfrastructureError, match="git is not installed"):
        git.is_repository(tmp_path)


def test_reading_or_removing_the_stack_record_creates_no_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(pyproject.table(), "project", f"looked-{secrets.token_hex(3)}")
    assert record.load() is None
    assert not record.used("embedded")
    record.forget()
    record.remove()
    assert not [folder for folder in home.candidates() if folder.exists()]
