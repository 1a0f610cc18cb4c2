"""Running of other programs with a timeout: see `limits`.

Standard library only, since modules that noxfile.py imports use it.
"""

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from . import limits
from .errors import InfrastructureError

Completed = subprocess.CompletedProcess[str]


def run(  # noqa: PLR0913 - the needed options of subprocess.run
    command: Sequence[str],
    limit: float = limits.COMMAND,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    source: IO[bytes] | None = None,
    together: bool = False,
) -> Completed:
    """Run a non-interactive program; return its exit code and output.

    Args:
        command: the program and its arguments.
        limit: timeout in seconds.
        cwd: working directory.
        env: its environment, by default ours.
        source: its standard input, by default empty.
        together: whether to merge its standard error into its output.

    Raises:
        FileNotFoundError: there is no such program.
        InfrastructureError: it timed out and was killed.
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
            f"`{words}` did not finish within {limit:g} s and was stopped",
            f"see what it waits for: {words}",
        ) from error


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
