"""Asking programs, none of which may keep the doctor waiting."""

import os
import subprocess
import tempfile
from contextlib import suppress

from .. import limits
from ..errors import InfrastructureError
from ..pyproject import ROOT


def ask(*command: str, hint: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a program in the project and return what came of it; both its outputs are in `stdout`.

    Args:
        command: the program and its arguments.
        hint: what helps where it does not start.

    Raises:
        InfrastructureError: it does not start, or does not answer.
    """
    # Else Terraform asks its makers for news, and writes down when.
    env = {**os.environ, "CHECKPOINT_DISABLE": "1"}
    # One that cannot be written to has a row of its own, and is no fault of what is asked about.
    with suppress(FileNotFoundError):
        env["TMPDIR"] = tempfile.gettempdir()
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=limits.LOOK,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        words = " ".join(command)
        raise InfrastructureError(
            f"`{words}` does not answer within {limits.LOOK:g} s", f"see what it waits for: {words}"
        ) from error
    except FileNotFoundError as error:
        where = "there" if os.sep in command[0] else "on PATH"
        raise InfrastructureError(f"{command[0]} is not {where}", hint) from error
    except OSError as error:
        raise InfrastructureError(f"{command[0]} does not start: {error.strerror}", hint) from error


def version(*command: str, hint: str) -> str:
    """Return the first line that a program prints.

    Raises:
        InfrastructureError: it is not there, or does not work.
    """
    done = ask(*command, hint=hint)
    if done.returncode:
        raise InfrastructureError(
            f"`{' '.join(command)}` fails: {done.stdout.strip() or f'exit {done.returncode}'}", hint
        )
    return done.stdout.strip().partition("\n")[0]
