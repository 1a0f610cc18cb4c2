"""`invoke completion`: what makes a shell complete sessions and actions.

Both tools bring a script of their own. They call `nox` and `invoke` by these names, so the
environment has to be active, or both be on PATH.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from invoke.context import Context

from .. import limits
from ..environment import VENV, incomplete
from ..errors import ConfigurationError
from . import console
from .executor import task

Shell = Literal["bash", "zsh", "fish"]

HOW: dict[Shell, tuple[str, ...]] = {
    "bash": (". .venv/bin/activate", 'eval "$(invoke completion --shell bash)"'),
    "zsh": (
        ". .venv/bin/activate",
        "autoload -U compinit && compinit",
        'eval "$(invoke completion --shell zsh)"',
    ),
    "fish": (". .venv/bin/activate.fish", "invoke completion --shell fish | source"),
}
"""What a person types to have it."""


@task(help={"shell": "bash, zsh or fish; default: the one in $SHELL"})
def completion(_: Context, shell: Shell | None = None) -> None:
    """Print the shell completion for nox and invoke."""
    chosen = shell or _shell()
    console.say("\n".join(f"# {line}" for line in ("To have it, from the project:", *HOW[chosen])))
    for command in (
        ("register-python-argcomplete", "--shell", chosen, "nox"),
        ("invoke", "--print-completion-script", chosen),
    ):
        console.say(_script(command))


def _shell() -> Shell:
    """Return the user's shell.

    Raises:
        ConfigurationError: it is none that can be served.
    """
    name = Path(os.environ.get("SHELL", "")).name
    known: tuple[Shell, ...] = get_args(Shell)
    for shell in known:
        if shell == name:
            return shell
    raise ConfigurationError(
        f"the shell {name!r} of $SHELL is none of {', '.join(known)}",
        "uv run invoke completion --shell bash",
    )


def _script(command: Sequence[str]) -> str:
    program = Path(sys.executable).with_name(command[0])
    try:
        # Its own name is what the script will call.
        return subprocess.run(
            command,
            executable=program,
            cwd=VENV.parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=limits.COMMAND,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise incomplete(ImportError(f"{command[0]} is not in it")) from error
