"""The free cloud: a process on this computer instead of a machine.

It is launched, tagged, listed and terminated like a machine, and like a machine it keeps running if
its run is killed. Its time to live stops it in any case.
"""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import limits, liveness, results
from ..errors import ConfigurationError, InfrastructureError
from ..pyproject import ROOT
from ..servers.waiting import until
from ..stack.health import readiness_error
from . import leases
from .leases import Lease
from .machine import LOCK, LOG, NOTE, OUTPUT, TAIL
from .providers import Answering, Machine, NotYetError, Quote, ended


@dataclass(slots=True)
class Local:
    """Provider that runs a service in its own process, with embedded servers."""

    name: str
    stop: float = limits.SERVER_STOP
    """Seconds to wait for a process after each of two signals."""

    def credentials(self) -> str:
        """Return a text saying that none are needed."""
        return "needs none"

    def check(self) -> None:
        """Do nothing: this computer needs no credentials."""

    def quote(self, instance: str, region: str) -> Quote:
        """Return a price of zero.

        Raises:
            ConfigurationError: an instance or a region was requested.
        """
        if instance or region:
            raise ConfigurationError(
                f"the cloud `local` is this computer, and has no {instance or region}",
                "leave --instance and --region out, or name a cloud: --cloud aws",
            )
        return Quote("process", "this computer", 0.0, "free")

    def launch(self, lease: Lease) -> None:
        """Start the process.

        Raises:
            InfrastructureError: it does not start.
        """
        folder = lease.folder
        # Taken before the process exists and inherited by it, so that it never runs without it.
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with (folder / LOG).open("ab") as log:
                # It outlives this run, so it shares no output, input or signals with it.
                subprocess.Popen(
                    (
                        *(sys.executable, "-m", "stratakit.cloud.machine"),
                        *("--service", lease.service, "--folder", str(folder)),
                        *("--seconds", str(lease.seconds)),
                    ),
                    cwd=ROOT,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
        except OSError as error:
            raise InfrastructureError(
                f"no process can be started for {lease.service}: {error}", "uv run invoke doctor"
            ) from error
        finally:
            os.close(lock)
        with suppress(TimeoutError):
            until(lambda: self._process(folder), limits.PROCESS, unless=ProcessLookupError)

    def answering(self, lease: Lease) -> Answering:
        """Return the URL and settings of the service, if it is ready.

        Raises:
            NotYetError: it is not ready yet.
            StrataError: the process has exited.
        """
        note = _note(lease.folder)
        if not liveness.is_held(lease.folder / LOCK):
            raise ended(lease, note, "", self.logs(lease))
        if "url" not in note:
            raise NotYetError(f"{lease.service} is still starting")
        if problem := readiness_error(note["url"]):
            raise NotYetError(problem)
        return Answering(note["url"], note["settings"])

    def logs(self, lease: Lease) -> str:
        """Return the last lines that it has printed."""
        files = (lease.folder / LOG, lease.folder / OUTPUT)
        texts = (
            each.read_text(encoding="utf-8", errors="replace") for each in files if each.exists()
        )
        return "\n".join("".join(texts).splitlines()[-TAIL:])

    def shell(self, lease: Lease) -> list[str]:
        """Return the shell of the user: the machine is this one."""
        del lease
        return [os.environ.get("SHELL", "/bin/sh")]

    def terminate(self, tag: str) -> None:
        """Stop the process and its children.

        Raises:
            InfrastructureError: it does not stop.
        """
        folder = leases.home() / tag
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, TimeoutError):
                # A new process writes its pid shortly after it has started.
                until(lambda: self._process(folder), limits.PROCESS, unless=ProcessLookupError)
                os.killpg(self._process(folder), number)
            with suppress(TimeoutError):
                until(lambda: _gone(folder), self.stop)
                return
        raise InfrastructureError(
            f"the process of the lease {tag} does not end",
            f"see which it is: lsof {folder / LOCK}",
        )

    def list(self) -> Iterator[Machine]:
        """Return the running processes."""
        for lock in leases.home().glob(f"*/{LOCK}"):
            if liveness.is_held(lock):
                pid = _note(lock.parent).get("pid", "")
                yield Machine(lock.parent.name, f"process {pid}", "running", 0.0)

    def _process(self, folder: Path) -> int:
        """Return the pid of a running process.

        Raises:
            ProcessLookupError: it is not running.
            NotYetError: it has not written its pid yet.
        """
        if not liveness.is_held(folder / LOCK):
            raise ProcessLookupError
        try:
            return int(_note(folder)["pid"])
        except KeyError:
            raise NotYetError from None


def _note(folder: Path) -> dict[str, Any]:
    return results.read(folder / NOTE, pid=int)


def _gone(folder: Path) -> None:
    if liveness.is_held(folder / LOCK):
        raise NotYetError(f"{folder.name} has not ended")


def _environment() -> dict[str, str]:
    """Return our environment without the variable that ties processes to a run of nox."""
    others = {name: value for name, value in os.environ.items() if name != liveness.RUN}
    # As on a rented machine. A container would outlive a killed process.
    return {"STRATA_SERVERS": "embedded", **others}
