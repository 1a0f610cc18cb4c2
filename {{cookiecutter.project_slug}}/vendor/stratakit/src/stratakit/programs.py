"""Running of other programs with a timeout: see `limits`.

Standard library only, since modules that noxfile.py imports use it.
"""

import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import IO

from . import limits
from .errors import InfrastructureError

Completed = subprocess.CompletedProcess[str]

PORTS = range(20_000, 30_000)
"""Ports to choose from. Systems give higher ones to outgoing connections, which could take a port
between the choice and its use: Linux from 32768, macOS and Windows from 49152."""


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
    """Return a free port of this machine, chosen at random from `PORTS`.

    Raises:
        InfrastructureError: there is none.
    """
    # Not `random.sample`: the tests seed it, and concurrent ones would get the same port.
    for port in SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    ports = f"{PORTS.start} to {PORTS.stop - 1}"
    raise InfrastructureError(f"no port from {ports} is free", "see what uses them: ss -ltnp")
