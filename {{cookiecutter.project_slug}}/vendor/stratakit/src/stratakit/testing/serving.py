"""A service under test, in a process of its own, as it is started in production.

It ends with the process that has started it, however that ends: it holds the reading end of a pipe,
of which the kernel closes the other end then.
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
"""How a service may end that is not up yet, and has no handlers: by our signal, or by Ctrl-C."""

_WATCH = """
import os, runpy, signal, sys, threading

def end_with_parent():
    while os.read(0, 1):
        pass
    # With whatever it has started: they are a group of their own.
    os.killpg(0, signal.SIGKILL) if hasattr(os, "killpg") else os._exit(1)

threading.Thread(target=end_with_parent, daemon=True).start()
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
TIED = (sys.executable, "-c", _WATCH)
"""What runs a module as `python -m` does, and watches the pipe besides."""


@dataclass(slots=True)
class Service:
    """A running service.

    Attributes:
        process: the process.
        port: where it listens.
        output: the file that its output and its errors go to.
        up: whether it was seen to be ready.
    """

    process: subprocess.Popen[bytes]
    port: int
    output: Path
    up: bool = False

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    async def ready(self, *, timeout: float = 60) -> None:
        """Wait until it answers that it is ready.

        Args:
            timeout: seconds; a new process takes its time on a machine that is busy with tests.

        Raises:
            AssertionError: it ended, or is not ready in time; the message holds its output.
        """
        await eventually(lambda: asyncio.to_thread(self._settled), timeout=timeout)
        if self.process.poll() is not None:
            raise AssertionError(self.output.read_text(encoding="utf-8"))
        self.up = True

    def _settled(self) -> bool:
        if self.process.poll() is not None:
            return True
        # Not imported before it is needed: the stack brings along all that it runs on.
        from ..stack.health import readiness_error

        problem = readiness_error(self.port)
        if problem:
            raise AssertionError(problem)
        return True


@contextmanager
def serving(
    module: str, settings: Mapping[str, str], *, prefix: str, folder: Path
) -> Iterator[Service]:
    """Start a service with these settings and none that the user has made; stop it at the end.

    Args:
        module: what `python -m` runs.
        settings: its settings, without the prefix; the port is added.
        prefix: what the names of its environment variables begin with.
        folder: an empty folder, which it is started in.

    Raises:
        AssertionError: told to stop, it did not within ten seconds beside its own SHUTDOWN_GRACE,
            or not with exit code 0. One that is not up yet may end by the signal.
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
    """Run a process for the length of the block, in a group of its own.

    If this one is killed, its standard input ends, and it is to end by that: see `TIED`.

    Args:
        command: the program and its arguments.
        output: the file that it prints to, in the folder that it is started in.
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
    """End a process that has not ended yet, with whatever it has started."""
    if process.poll() is None and sys.platform != "win32":
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
