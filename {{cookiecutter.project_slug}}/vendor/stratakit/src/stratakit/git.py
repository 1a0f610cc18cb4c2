"""git, in a folder that we name."""

import os
import shlex
import subprocess
from pathlib import Path

from . import limits
from .errors import InfrastructureError

# By these a git hook that runs an action would have us read its own repository.
REPOSITORY = {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"}


class GitError(Exception):
    """git fails; the text is what it says."""


def git(folder: Path, *arguments: str, timeout: float = limits.COMMAND) -> str:
    """Return what git prints; after `timeout` seconds it has failed.

    Raises:
        GitError: it fails.
        InfrastructureError: it is not installed.
    """
    command = ("git", "-C", str(folder), *arguments)
    inherited = {key: value for key, value in os.environ.items() if key not in REPOSITORY}
    try:
        done = subprocess.run(
            command,
            # A question for a password that nobody sees would be waited for without end.
            env={**inherited, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise InfrastructureError(
            "git is not installed, or not on PATH: templates come from it, and it tells what would"
            " be lost",
            "install git: https://git-scm.com/downloads",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"`{shlex.join(command)}` takes longer than {timeout:g} s") from error
    if done.returncode:
        raise GitError(done.stderr.strip())
    return done.stdout
