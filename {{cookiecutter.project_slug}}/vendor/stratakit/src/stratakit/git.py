"""Git commands, run in an explicit folder."""

import hashlib
import os
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

from . import limits
from .errors import InfrastructureError

# A git hook sets these, so an action that it runs would use the hook's repository.
REPOSITORY = {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"}

_NONE = "not a git repository"
_OTHERS = "detected dubious ownership"


class GitError(Exception):
    """A git command failed; the text is its error output."""


def git(folder: Path, *arguments: str, timeout: float = limits.COMMAND) -> str:
    """Return the output of a git command.

    Raises:
        GitError: it fails, or takes longer than `timeout` seconds.
        InfrastructureError: git is not installed, or refuses a repository of another user.
    """
    command = ("git", "-C", str(folder), *arguments)
    inherited = {key: value for key, value in os.environ.items() if key not in REPOSITORY}
    try:
        done = subprocess.run(
            command,
            # A hidden password prompt would block forever.
            env={**inherited, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise InfrastructureError(
            "git is not installed, or not on PATH: it fetches templates, and shows what would"
            " be lost",
            "install git: https://git-scm.com/downloads",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"`{shlex.join(command)}` takes longer than {timeout:g} s") from error
    if _OTHERS in done.stderr:
        raise InfrastructureError(
            f"git refuses the repository in {folder}: it belongs to another user",
            f"git config --global --add safe.directory {shlex.quote(str(folder))}",
        )
    if done.returncode:
        raise GitError(done.stderr.strip())
    return done.stdout


def is_repository(folder: Path) -> bool:
    """Return whether a folder is in a repository.

    Raises:
            InfrastructureError: git is not installed, or cannot tell whether there is one.
    """
    try:
        git(folder, "rev-parse", "--git-dir")
    except GitError as error:
        if _NONE in str(error):
            return False
        raise InfrastructureError(
            f"git cannot tell whether {folder} is in a repository: {error}",
            f"see its message: git -C {shlex.quote(str(folder))} status",
        ) from error
    return True


def state(folder: Path) -> str | None:
    """Return an identifier for the current state of a folder; None if git cannot tell.

    It is the commit, followed by `+` and a digest if anything is uncommitted; untracked files
    count with their size and modification time.
    """
    try:
        commit = git(folder, "rev-parse", "--short=12", "HEAD").strip()
        changed = git(
            folder, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--", "."
        )
        others = git(folder, "ls-files", "--others", "--exclude-standard", "-z")
    except (GitError, InfrastructureError):
        return None
    if not changed and not others:
        return commit
    digest = hashlib.sha256(f"{changed}\0{others}".encode(errors="replace"))
    for name in filter(None, others.split("\0")):
        with suppress(OSError):
            about = (folder / name).stat()
            digest.update(f"{about.st_size} {about.st_mtime_ns}\0".encode())
    return f"{commit}+{digest.hexdigest()[:8]}"
