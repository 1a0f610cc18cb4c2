"""A service under test, in a process of its own, started as in production.

It ends with the process that started it, however that ends: it reads from a pipe whose other end
the kernel then closes.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .. import limits
from ..programs import free_port
from .waiting import eventually

ENDED_EARLY = (-signal.SIGTERM, -signal.SIGINT)
"""Exit codes of a service stopped by our signal or Ctrl-C before it has signal handlers."""

_WATCH = """
import os, runpy, signal, sys, threading

def end_with_parent():
    while os.read(0, 1):
        pass
    # Kill its children too: they are in its process group.
    os.killpg(0, signal.SIGKILL) if hasattr(os, "killpg") else os._exit(1)

threading.Thread(target=end_with_parent, daemon=True).start()
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
TIED = (sys.executable, "-c", _WATCH)
"""Command that runs a module like `python -m`, and watches the pipe."""


@dataclass(slots=True)
class Service:
    """A running service.

    Attributes:
        process: the process.
        port: port that it listens on.
        output: file with its stdout and stderr.
        up: whether it has been ready.
    """

    process: subprocess.Popen[bytes]
    port: int
    output: Path
    up: bool = False

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def ready(self, *, timeout: float = 60) -> None:
        """Wait until the service reports that it is ready.

        Args:
            timeout: seconds; a new process starts slowly on a machine that is busy with tests.

        Raises:
            AssertionError: it exited, and the message is its output; or it was not ready in time.
        """
        await eventually(lambda: asyncio.to_thread(self._settled), timeout=timeout)
        if self.process.poll() is not None:
            raise AssertionError(self.output.read_text(encoding="utf-8"))
        self.up = True

    def _settled(self) -> bool:
        if self.process.poll() is not None:
            return True
        # Imported lazily: the stack imports many packages.
        from ..stack.health import readiness_error

        problem = readiness_error(self.port)
        if problem:
            raise AssertionError(problem)
        return True


@contextmanager
def serving(
    module: str, settings: Mapping[str, str], *, prefix: str, folder: Path
) -> Iterator[Service]:
    """Start a service with these settings and none of the user's; stop it at the end.

    Args:
        module: module that `python -m` runs.
        settings: its settings, without the prefix; the port is added.
        prefix: prefix of its environment variables.
        folder: an empty folder, its working directory.

    Raises:
        AssertionError: it did not stop in ten seconds, plus the SHUTDOWN_GRACE among its settings,
            or its exit code was not 0. A service that is not up yet may end by the signal.
    """
    port = free_port()
    others = {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
    given = {prefix + name: value for name, value in {**settings, "PORT": str(port)}.items()}
    path = folder / "output"
    with child((*TIED, module), path, env=others | given) as process:
        service = Service(process, port, path)
        yield service
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=limits.service_stop(given))
    if process.returncode not in (0, *(() if service.up else ENDED_EARLY)):
        said = path.read_text(encoding="utf-8")
        raise AssertionError(f"{module} ended with {process.returncode}:\n{said}")


@contextmanager
def child(
    command: Sequence[str], output: Path, *, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process for the duration of the block, in a process group of its own.

    If this process is killed, the child's stdin is closed, and it should exit then: see `TIED`.

    Args:
        command: the program and its arguments.
        output: file for its output; the file's folder is its working directory.
        env: its environment, by default ours.
    """
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            command,
            cwd=output.parent,
            env=env,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process that is still running, with its children."""
    if process.poll() is None and sys.platform != "win32":
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
