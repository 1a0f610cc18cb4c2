"""`invoke setup`: from a bake or a clone to a project that one can work in."""

import re
import secrets
import shutil
import sys
from collections.abc import Callable, Sequence

from invoke.context import Context

from .. import environment, hooks, limits, programs
from ..errors import InfrastructureError
from ..pyproject import ROOT
from .executor import task

PLACEHOLDER = "CHANGE_ME"
"""What stands in .env.example for a secret."""


@task()
def setup(_: Context) -> None:
    """Set up the project: git, lock, environment, hooks, .env. Safe to run again."""
    for name, step in STEPS.items():
        sys.stdout.write(f"{name}: {step()}\n")
    sys.stdout.write("ready. Next: uvx nox\n")


def _git() -> str:
    if shutil.which("git") is None:
        return "not installed, so no repository is made: install git and run this again"
    if _succeeds("git", "rev-parse", "--git-dir"):
        return "a repository is there"
    _run("git", "init", "--quiet", "--initial-branch=main")
    return "repository made; the first commit is yours"


def _lock() -> str:
    _uv(environment.uv(), "lock")
    return "uv.lock is up to date"


def _environment() -> str:
    _uv(*environment.sync(None, environment.VENV))
    return ".venv has everything: for Invoke, an IDE and a bare pytest"


def _dotenv() -> str:
    target = ROOT / ".env"
    if target.exists():
        return "is there, and stays as it is"
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    # Nobody else may read it, from its first byte on.
    target.touch(mode=0o600)
    # Each is a secret of its own.
    target.write_text(
        re.sub(PLACEHOLDER, lambda _: secrets.token_urlsafe(), text), encoding="utf-8"
    )
    found = len(re.findall(PLACEHOLDER, text))
    return f"copied from .env.example{f', with {found} fresh secrets' if found else ''}"


def _hooks() -> str:
    repository = hooks.repository()
    if not repository:
        return "no git repository to install them in"
    blocked = [f"--hook-type={stage}" for stage in repository.blocked()]
    if blocked:
        _run(sys.executable, "-m", "pre_commit", "uninstall", *blocked)
    if repository.prefix:
        return f"not installed: {repository.reason()}; let them call: {repository.command}"
    _run(sys.executable, "-m", "pre_commit", "install")
    hooks.write(repository.hooks)
    return "installed: static checks and the message at a commit, unit tests before a push"


STEPS: dict[str, Callable[[], str]] = {
    "git": _git,
    "lock": _lock,
    "environment": _environment,
    ".env": _dotenv,
    "hooks": _hooks,
}


def _uv(*command: str) -> None:
    """Run a command of uv, which has to succeed.

    Raises:
        StrataError: it does not; the message says what that means.
    """
    done = _attempt([*command, "--quiet"])
    if done.returncode:
        raise environment.diagnose(done.stdout)


def _run(*command: str) -> None:
    """Run a command that has to succeed.

    Raises:
        InfrastructureError: it does not; the message is what it printed.
    """
    done = _attempt(command)
    if done.returncode:
        raise InfrastructureError(
            f"`{' '.join(command)}` ended with exit code {done.returncode}:\n{done.stdout.strip()}",
            "see its message; then run it again: uv run invoke setup",
        )


def _succeeds(*command: str) -> bool:
    return shutil.which(command[0]) is not None and _attempt(command).returncode == 0


def _attempt(command: Sequence[str]) -> programs.Completed:
    # uv may have to download every package.
    return programs.run(command, limits.DOWNLOAD, cwd=ROOT, together=True)
