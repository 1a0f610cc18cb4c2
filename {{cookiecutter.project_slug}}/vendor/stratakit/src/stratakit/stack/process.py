"""One service as a process of this machine: started, looked at and stopped."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import limits
from ..errors import InfrastructureError
from ..pyproject import ROOT
from ..servers.home import made
from ..servers.waiting import until
from . import process_wrapper, record, service_env
from .states import State, Status, address, complaint, moment


@dataclass(frozen=True, slots=True)
class Process:
    """The process of one service: as it is noted, and as it really is."""

    name: str
    """The name of the service."""

    @property
    def folder(self) -> Path:
        """Where its log is, and what its keeper notes."""
        return record.folder() / self.name

    @property
    def log(self) -> Path:
        """Its output, since it was started last."""
        return self.folder / process_wrapper.LOG

    def alive(self) -> bool:
        """Return whether it or its keeper lives, whichever process may have its number now."""
        try:
            handle = os.open(self.folder / process_wrapper.LOCK, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def facts(self) -> dict[str, Any]:
        """Return what its keeper has noted; nothing if it was not started, or was stopped."""
        try:
            facts: dict[str, Any] = json.loads((self.folder / process_wrapper.NOTE).read_bytes())
        except FileNotFoundError:
            return {}
        return facts

    def status(self) -> Status:
        """Return how it is."""
        name, alive, facts = self.name, self.alive(), self.facts()
        if not facts:
            return Status(name, State.STOPPED)
        code = facts.get("exit_code")
        if code is not None:
            ended = moment(facts["ended"])
            return Status(name, State.DEAD, since=ended, exit_code=code, reason=_meaning(code))
        if not alive:
            lost = f"pid {facts['process']} is stale: it was killed, or the machine was restarted"
            return Status(name, State.DEAD, reason=lost)
        reason = complaint(facts["port"])
        return Status(
            name,
            State.RUNNING if reason else State.HEALTHY,
            url=address(facts["port"]),
            process=facts["process"],
            since=moment(facts["started"]),
            reason=reason,
        )

    def start(self, package: str, variables: Mapping[str, str], port: int) -> None:
        """Start it, with these variables beside the user's own, which say to listen on `port`.

        Raises:
            InfrastructureError: there is no process.
        """
        made(self.folder, 0o700)
        for left in (process_wrapper.NOTE, process_wrapper.LOG):
            (self.folder / left).unlink(missing_ok=True)
        # Safe: the folder that it runs in, for the sake of `.env`, hides no module.
        command = [sys.executable, "-P", "-m", package]
        order = {"command": command, "folder": str(self.folder), "port": port}
        with self.log.open("ab") as log, suppress(subprocess.SubprocessError):
            # Where it fails, its log says why, and there is no note of it.
            subprocess.run(
                # Isolated: what steers this run's Python, or measures it, is not the keeper's.
                [sys.executable, "-IS", str(Path(process_wrapper.__file__)), json.dumps(order)],
                cwd=ROOT,
                env=service_env.environment_with(variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
                timeout=limits.PROCESS,
            )
        self._await_note()

    def stop(self) -> bool:
        """Stop it and forget that it was started; return whether it ran."""
        running = self.alive()
        if running:
            self._end()
        (self.folder / process_wrapper.NOTE).unlink(missing_ok=True)
        return running

    def _await_note(self) -> dict[str, Any]:
        """Return the keeper's note, which it writes a moment after it has taken the lock."""
        try:
            until(lambda: self.facts()["process"], limits.PROCESS)
        except TimeoutError as error:
            raise InfrastructureError(
                f"there is no process of {self.name}: {self.log.read_text(errors='replace')}",
                "see what it says, then: uv run invoke stack.up",
            ) from error
        return self.facts()

    def _end(self) -> None:
        facts = self._await_note()
        if "exit_code" not in facts:
            # The lock is held and no end is noted, so the number is still the service's.
            with suppress(ProcessLookupError):
                os.kill(facts["process"], signal.SIGTERM)
        if self._ended():
            return
        with suppress(ProcessLookupError):
            os.killpg(facts["group"], signal.SIGKILL)
        if not self._ended():
            lock = self.folder / process_wrapper.LOCK
            raise InfrastructureError(
                f"{self.name} does not stop", f"end what holds its lock: lsof {lock}"
            )

    def _ended(self) -> bool:
        """Wait for its end; return whether it has come in time."""

        def refuse_life() -> None:
            if self.alive():
                raise TimeoutError

        try:
            until(refuse_life, limits.PROCESS)
        except TimeoutError:
            return False
        return True


def _meaning(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
