"""The cloud that is free: a process on this computer, in the place of a machine.

It is launched, tagged, listed and given back as a machine is, and goes on when the run that has
made it is killed, as a machine does. Its time to live ends it in every case.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import limits, liveness
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
    """Runs a service in a process of its own, with embedded servers."""

    name: str
    stop: float = limits.SERVER_STOP
    """Seconds in which a process ends after each of two signals."""

    def credentials(self) -> str:
        """Return that none are needed."""
        return "needs none"

    def check(self) -> None:
        """Return: this computer asks for no credentials."""

    def quote(self, instance: str, region: str) -> Quote:
        """Return that it is free.

        Raises:
            ConfigurationError: another machine than this one was asked for.
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
        # Held before the process exists and handed over to it: it is never there without its lock.
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with (folder / LOG).open("ab") as log:
                # What it prints and what it is told is its own: it outlives this run.
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
        """Return where the service answers, once it does.

        Raises:
            NotYetError: it does not, so far.
            StrataError: the process has ended.
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
        """End the process, with whatever it has started.

        Raises:
            InfrastructureError: it cannot be ended.
        """
        folder = leases.home() / tag
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, TimeoutError):
                # A process that has only just been started says a moment later which it is.
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
        """Return the processes that live."""
        for lock in leases.home().glob(f"*/{LOCK}"):
            if liveness.is_held(lock):
                pid = _note(lock.parent).get("pid", "")
                yield Machine(lock.parent.name, f"process {pid}", "running", 0.0)

    def _process(self, folder: Path) -> int:
        """Return the number of a process that lives.

        Raises:
            ProcessLookupError: there is none.
            NotYetError: it has not said so far.
        """
        if not liveness.is_held(folder / LOCK):
            raise ProcessLookupError
        try:
            return int(_note(folder)["pid"])
        except KeyError:
            raise NotYetError from None


def _note(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _gone(folder: Path) -> None:
    if liveness.is_held(folder / LOCK):
        raise NotYetError(f"{folder.name} has not ended")


def _environment() -> dict[str, str]:
    """Return ours, but for what ties a process to the run of nox that has started it."""
    others = {name: value for name, value in os.environ.items() if name != liveness.RUN}
    # As on a machine that was rented. A container would outlive a process that is killed.
    return {"STRATA_SERVERS": "embedded", **others}
