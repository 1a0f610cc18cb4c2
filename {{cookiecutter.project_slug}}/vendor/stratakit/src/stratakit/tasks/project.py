"""Actions on the project as a whole: setup, doctor, completion and engine.eject."""

import os
import re
import secrets
import shutil
import sys
from pathlib import Path
from typing import Literal, get_args

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit

from .. import doctor as examination
from .. import environment, hooks, limits, programs
from ..errors import ConfigurationError, InfrastructureError
from ..git import is_repository
from ..project import services
from ..pyproject import ROOT
from ..scaffold import eject as ejection
from ..stack import service_env
from ..static.checks import REJECTS
from ..static.runner import project_files
from . import console
from .executor import task

PLACEHOLDER = "CHANGE_ME"
"""Placeholder for a secret in .env.example."""

Shell = Literal["bash", "zsh", "fish"]
ACTIVATION: dict[Shell, tuple[str, ...]] = {
    "bash": (". .venv/bin/activate", 'eval "$(invoke completion --shell bash)"'),
    "zsh": (
        ". .venv/bin/activate",
        "autoload -U compinit && compinit",
        'eval "$(invoke completion --shell zsh)"',
    ),
    "fish": (". .venv/bin/activate.fish", "invoke completion --shell fish | source"),
}
"""Commands that enable the completion. Both scripts call `nox` and `invoke` by these names, so the
environment has to be active, or both have to be on PATH."""


@task()
def setup(_: Context) -> None:
    """Set up the project: git, lock, environment, hooks, .env, servers. Safe to run again."""
    steps = {
        "git": _git,
        "lock": _lock,
        "environment": _environment,
        ".env": _dotenv,
        "hooks": _hooks,
        "servers": _servers,
        "update": _rejects,
    }
    for name, step in steps.items():
        console.say(f"{name}: {step()}")
    console.say("ready. Next: uv run nox")


def _git() -> str:
    if shutil.which("git") is None:
        return "not installed, so no repository is made: install git and run this again"
    if is_repository(ROOT):
        return "a repository exists"
    _run("git", "init", "--quiet", "--initial-branch=main")
    return "repository created; the first commit is yours"


def _lock() -> str:
    _uv(environment.uv(), "lock")
    return "uv.lock is up to date"


def _environment() -> str:
    _uv(*environment.sync(None, environment.VENV))
    return ".venv has everything: for Invoke, an IDE and a bare pytest"


def _dotenv() -> str:
    target = ROOT / ".env"
    if target.exists():
        service_env.dotenv()
        return "already exists, unchanged"
    example = ROOT / ".env.example"
    if not example.exists():
        return "not made: there is no .env.example to copy"
    text = example.read_text(encoding="utf-8")
    # Private before anything is written to it.
    target.touch(mode=0o600)
    # Each placeholder gets its own secret.
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
    if repository.has_own_hooks:
        return f"not installed: {repository.reason()}; let them call: {repository.command}"
    _run(sys.executable, "-m", "pre_commit", "install")
    hooks.write(repository.hooks)
    return "installed: static checks and the message at a commit, unit tests before a push"


def _servers() -> str:
    if not any("postgres" in each.needs for each in services()):
        return "no service needs PostgreSQL"
    # Imported here: their dependencies come with the environment of the step before.
    from .. import servers, settings
    from ..servers import binaries, embedded

    try:
        source, why = servers.choose(settings.load(), "postgres")
        if source != "embedded":
            return f"PostgreSQL by {source} ({why})"
        embedded.require_name()
        return f"embedded PostgreSQL by {binaries.installation('postgres').origin}"
    except InfrastructureError as error:
        return f"left to you: {error}"


def _rejects() -> str:
    left = REJECTS.select(project_files())
    return f"left to you: {', '.join(left)}: {REJECTS.hint}" if left else "nothing is left to merge"


def _uv(*command: str) -> None:
    """Run a uv command that must succeed; it may have to download every package.

    Raises:
        StrataError: it failed; the message explains why.
    """
    done = programs.run([*command, "--quiet"], limits.DOWNLOAD, cwd=ROOT, together=True)
    if done.returncode:
        raise environment.diagnose(done.stdout)


def _run(*command: str) -> None:
    """Run a command that must succeed.

    Raises:
        InfrastructureError: it failed; the message has its output.
    """
    done = programs.run(command, limits.DOWNLOAD, cwd=ROOT, together=True)
    if done.returncode:
        raise InfrastructureError(
            f"`{' '.join(command)}` ended with exit code {done.returncode}:\n{done.stdout.strip()}",
            "see its message; then run it again: uv run invoke setup",
        )


@task(help={"tier": "check only what this tier needs", "json": "print JSON"})
def doctor(_: Context, tier: str | None = None, json: bool = False) -> None:
    """Check this machine; show what each tier is missing and how to get it."""
    code = examination.examine(tier, as_json=json)
    if code:
        raise Exit(code=code)


@task(help={"shell": "bash, zsh or fish; default: the one in $SHELL"})
def completion(_: Context, shell: Shell | None = None) -> None:
    """Print the shell completion for nox and invoke."""
    name = shell or Path(os.environ.get("SHELL", "")).name
    chosen: Shell | None = next((each for each in get_args(Shell) if each == name), None)
    if not chosen:
        raise ConfigurationError(
            f"the shell {name!r} in $SHELL is not one of {', '.join(get_args(Shell))}",
            "uv run invoke completion --shell bash",
        )
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError as error:
        raise environment.incomplete(error) from error
    steps = ("To have it, from the project:", *ACTIVATION[chosen])
    console.say("\n".join(f"# {line}" for line in steps))
    console.say(shellcode(["nox"], shell=chosen))
    # The script completes the program that printed it, so it has to be called `invoke`.
    invoke = Path(sys.executable).with_name("invoke")
    done = programs.run([str(invoke), "--print-completion-script", chosen], cwd=ROOT)
    console.say(done.stdout)


@task(help={"yes": "do not ask for confirmation"})
def eject(_: Context, yes: bool = False) -> None:
    """Turn the vendored engine into a package of your own."""
    if not yes:
        console.confirm("move vendor/stratakit to engine/, to maintain it yourselves", "--yes")
    changed = ejection.eject()
    console.say(
        f"changed: {', '.join(changed)}. Next:\n"
        "  uv sync --all-packages --all-groups\n"
        "  uv run nox -s static unit"
    )


engine = Collection("engine", eject)
