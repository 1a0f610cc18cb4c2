"""Services as processes on this machine, with embedded servers or a configured one."""

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import psutil
import psycopg

from .. import environment, limits, settings
from ..errors import ConfigurationError, InfrastructureError, translated
from ..liveness import is_held
from ..project import Service
from ..pyproject import ROOT
from ..results import read
from ..servers import KINDS, Kind, Server, Source, embedded, external, supervisor
from ..servers.home import made
from ..servers.supervisor import SERVICE_LOCK, SERVICE_LOG, SERVICE_NOTE
from ..servers.waiting import until
from . import ports, record, service_env
from .health import HOST, State, Status, address, readiness_error


class Processes:
    """Backend that runs the stack as processes."""

    PREPARING = "find the code of"

    def __init__(self, source: Source = "embedded") -> None:
        """Use the servers of a source."""
        self.source = source

    def prepare(self, services: Sequence[Service]) -> None:
        """Make sure that the services are installed.

        Raises:
            ConfigurationError: a service is not installed.
        """
        for service in services:
            if importlib.util.find_spec(service.package) is None:
                raise ConfigurationError(
                    f"{service.name} is not installed in {sys.prefix}", "uv run invoke setup"
                )

    def start(self, services: Sequence[Service], servers: Mapping[Kind, Server]) -> list[str]:
        """Start services that are not running, or whose code or settings changed; return them."""
        given = {
            each.name: service_env.variables(each, servers, host=HOST, port=ports.of(each))
            for each in services
        }
        self.stop([each for each in services if _is_outdated(each, given[each.name])])
        idle = [service for service in services if not Process(service.name).alive()]
        for service in idle:
            Process(service.name).start(service.package, given[service.name], ports.of(service))
        return [service.name for service in idle]

    def stop(self, services: Sequence[Service]) -> list[str]:
        """Stop services; return those that ran."""
        return _stop(service.name for service in services)

    def close(self) -> list[str]:
        """Stop every service, including those removed from the project; return those that ran."""
        return _stop(sorted(lock.parent.name for lock in record.folder().glob(f"*/{SERVICE_LOCK}")))

    def statuses(self, services: Sequence[Service]) -> list[Status]:
        """Return the status of services."""
        return [Process(service.name).status() for service in services]

    def servers(self) -> list[Status]:
        """Return the status of the servers."""
        return [
            _given() if (self.source, kind) == ("url", "postgres") else _embedded(kind)
            for kind in KINDS
        ]

    def output(self, service: Service, lines: int) -> str:
        """Return the last lines of a service's output."""
        try:
            text = Process(service.name).log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def follow(self, services: Sequence[Service], lines: int) -> NoReturn:
        """Replace this process with one that follows the services' output."""
        logs = [str(Process(service.name).log) for service in services]
        os.execvp("tail", ["tail", "-n", str(lines), "-F", *logs])  # noqa: S606


@dataclass(frozen=True, slots=True)
class Process:
    """The process of one service: its recorded state, and its actual one."""

    name: str
    """Name of the service."""
    home: Path = field(default_factory=record.folder)
    """Folder with the folders of all services."""

    @property
    def folder(self) -> Path:
        """Folder of its log and its state file."""
        return self.home / self.name

    @property
    def log(self) -> Path:
        """Log file with its output since its last start."""
        return self.folder / SERVICE_LOG

    def alive(self) -> bool:
        """Return whether it or its supervisor is alive; safe against reused process ids."""
        return is_held(self.folder / SERVICE_LOCK)

    def facts(self) -> dict[str, Any]:
        """Return its recorded state; empty if it was not started, was stopped, or is damaged."""
        needed = {"process": int, "group": int, "port": int, "started": float}
        return read(self.folder / SERVICE_NOTE, **needed)

    def status(self) -> Status:
        """Return its status."""
        name, alive, facts = self.name, self.alive(), self.facts()
        if not facts and alive:
            lost = f"its state file is damaged: uv run invoke stack.restart --service {name}"
            return Status(name, State.RUNNING, reason=lost)
        if not facts:
            return Status(name, State.STOPPED)
        code = facts.get("exit_code")
        if code is not None:
            ended = _moment(facts["ended"])
            why = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return Status(name, State.DEAD, since=ended, exit_code=code, reason=why)
        if not alive:
            lost = f"pid {facts['process']} is stale: it was killed, or the machine was restarted"
            return Status(name, State.DEAD, reason=lost)
        reason = readiness_error(facts["port"])
        return Status(
            name,
            State.RUNNING if reason else State.HEALTHY,
            url=address(facts["port"]),
            process=facts["process"],
            since=_moment(facts["started"]),
            reason=reason,
        )

    def start(self, package: str, variables: Mapping[str, str], port: int) -> None:
        """Start it with these variables, which include `port`, added to the user's own.

        Raises:
            InfrastructureError: it does not start.
        """
        # -P: the working directory, needed for `.env`, must not shadow modules.
        command = [sys.executable, "-P", "-m", package]
        env = service_env.environment_with(variables)
        stop_limit = limits.service_stop(variables)
        self.run(command, env, port, settings=_digest(variables), stop_limit=stop_limit)

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        port: int,
        *,
        settings: str = "",
        stop_limit: float = limits.PROCESS,
    ) -> None:
        """Run a command that listens on `port`, with exactly these variables.

        A digest of its settings is recorded, to detect changes of them, and the number of seconds
        that it may take to stop.

        Raises:
            InfrastructureError: it does not start.
        """
        noted = {"port": port, "settings": settings, "stop_limit": stop_limit}
        order = {"command": command, "folder": str(self.folder), "noted": noted}
        with translated(f"{self.name} cannot be started"):
            made(self.folder, 0o700)
            for left in (SERVICE_NOTE, SERVICE_LOG):
                (self.folder / left).unlink(missing_ok=True)
            with self.log.open("ab") as log, suppress(subprocess.TimeoutExpired):
                code = subprocess.run(
                    supervisor.command(order),
                    cwd=ROOT,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=False,
                    timeout=limits.PROCESS,
                ).returncode
                supervisor.refuse_full(code, self.folder)
        if not self.facts():
            said = self.log.read_text(encoding="utf-8", errors="replace")
            raise InfrastructureError(
                f"{self.name} did not start: {said or 'it has printed nothing'}",
                "see what it says, then start it again",
            )

    def stop(self) -> bool:
        """Stop it and forget that it was started; return whether it ran.

        Raises:
            InfrastructureError: it does not stop.
        """
        running = self.alive()
        if running:
            facts = self.facts() or self._holder()
            if facts and "exit_code" not in facts:
                # The lock is held and no exit is recorded, so the pid still belongs to the service.
                with suppress(ProcessLookupError):
                    os.kill(facts["process"], signal.SIGTERM)
            if not self._ends(facts.get("stop_limit", limits.PROCESS)):
                # Looked up again: a supervisor that was just starting has a group by now.
                facts = self.facts() or self._holder()
                with suppress(ProcessLookupError, KeyError):
                    os.killpg(facts["group"], signal.SIGKILL)
                if not self._ends():
                    raise InfrastructureError(
                        f"{self.name} does not stop",
                        f"end what holds its lock: lsof {self.folder / SERVICE_LOCK}",
                    )
        (self.folder / SERVICE_NOTE).unlink(missing_ok=True)
        return running

    def _holder(self) -> dict[str, Any]:
        """Return the process that holds its lock, and its group, if no state file says so."""
        lock = os.path.realpath(self.folder / SERVICE_LOCK)
        found: dict[str, Any] = {}
        for each in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                # A supervisor leads a session of its own; actions that look at the lock do not.
                group = os.getpgid(each.pid)
                own = group == os.getsid(each.pid) != os.getsid(0)
                if own and any(file.path == lock for file in each.open_files()):
                    # The service, if it runs: its supervisor then ends by itself.
                    pid = found.get("process", each.pid) if each.pid == group else each.pid
                    found = {"process": pid, "group": group}
        return found

    def _ends(self, limit: float = limits.PROCESS) -> bool:
        """Wait for it to exit; return whether it did in time."""

        def refuse_life() -> None:
            if self.alive():
                raise TimeoutError

        with suppress(TimeoutError):
            until(refuse_life, limit)
            return True
        return False


def _stop(names: Iterable[str]) -> list[str]:
    """Stop services, also if one of them does not stop; return those that ran.

    Raises:
        InfrastructureError: some do not stop.
    """
    stopped, errors = [], []
    for name in names:
        try:
            if Process(name).stop():
                stopped.append(name)
        except InfrastructureError as error:
            errors.append(error)
    if errors:
        message, hint = zip(*((each.message, each.hint) for each in errors), strict=True)
        raise InfrastructureError("\n".join(message), "; ".join(hint))
    return stopped


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _digest(variables: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(variables.items())).encode()).hexdigest()


def _is_outdated(service: Service, variables: Mapping[str, str]) -> bool:
    """Return whether code, packages or settings have changed since a service was started."""
    facts = Process(service.name).facts()
    if not facts:
        # Running without a readable state file: it is not known with what.
        return Process(service.name).alive()
    read = [file for folder in service_env.code(service) for file in folder.rglob("*")]
    return facts.get("settings") not in ("", None, _digest(variables)) or any(
        file.stat().st_mtime > facts["started"]
        for file in [*read, environment.LOCK]
        if file.is_file() and "__pycache__" not in file.parts
    )


def _given() -> Status:
    """Return the status of the configured PostgreSQL."""
    where = external.given(settings.load(), "postgres")
    try:
        external.ping("postgres", where)
    except psycopg.Error as error:
        reason = str(error).strip()
        return Status("postgres", State.DEAD, "server", settings.masked(where), reason=reason)
    return Status("postgres", State.HEALTHY, "server", settings.masked(where))


def _embedded(kind: Kind) -> Status:
    up = embedded.find_running(kind, kept=True)
    if not up:
        return Status(kind, State.STOPPED, "server")
    return Status(
        *(kind, State.RUNNING if up.error else State.HEALTHY, "server"),
        url=up.url,
        process=up.process,
        since=_moment(up.started),
        reason=up.error,
    )
