"""Running other programs to their end, which has to come: see `limits`.

Standard library only, as far as modules need it that noxfile.py imports.
"""

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from . import limits
from .errors import InfrastructureError

Completed = subprocess.CompletedProcess[str]


def run(  # noqa: PLR0913 - of subprocess.run, what is wanted here
    command: Sequence[str],
    limit: float = limits.COMMAND,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    source: IO[bytes] | None = None,
    together: bool = False,
) -> Completed:
    """Run a program that asks nobody anything; return its exit code and what it printed.

    Args:
        command: the program and its arguments.
        limit: seconds that it may take.
        cwd: where to run it.
        env: its environment, by default ours.
        source: what it reads, by default nothing.
        together: whether its errors are to stand among its output.

    Raises:
        FileNotFoundError: there is no such program.
        InfrastructureError: it is not done in time. It was ended.
    """
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=source or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if together else subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        words = " ".join(command)
        raise InfrastructureError(
            f"`{words}` was not done after {limit:g} s, and was ended",
            f"see what it waits for: {words}",
        ) from error


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
