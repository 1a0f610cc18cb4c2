"""SSH access to rented machines: sending the project, starting it, reading logs, and a tunnel.

The key and known_hosts are the lease's own, in its folder, never the user's. SSH is never
interactive: anything that needs a password fails.
"""

import json
import shlex
import subprocess
import tarfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import limits, programs, project
from ..errors import InfrastructureError, StrataError, translated
from ..pyproject import ROOT
from ..servers.waiting import until
from ..stack.health import readiness_error
from ..static.runner import project_files
from .leases import Lease
from .machine import LOG, NOTE, OUTPUT, TAIL
from .providers import Answering, NotYetError, ended

KEY, KNOWN_HOSTS, BUNDLE = "key", "known_hosts", "project.tar.gz"
BOOT = 300.0
"""Seconds within which a new machine accepts SSH connections; usually half a minute."""
UNREACHABLE = 255
"""Exit code of ssh if the connection failed, and not the command."""
OPTIONS = {
    "BatchMode": "yes",
    # The machine is new, so its host key is unknown.
    "StrictHostKeyChecking": "accept-new",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ExitOnForwardFailure": "yes",
    "LogLevel": "ERROR",
}

# cloud-init may still be installing packages. Embedded servers leave no containers behind.
_START = """\
if command -v cloud-init > /dev/null; then cloud-init status --wait; fi
PATH="$PWD/uv/bin:$HOME/.local/bin:$PATH"
command -v uv > /dev/null || {{ python3 -m venv uv && uv/bin/python -m pip install --quiet uv; }}
(
    cd project && STRATA_SERVERS=embedded uv run --package {distribution} --group test \
        python -m stratakit.cloud.machine --service {service} --folder ../run --seconds {seconds}
)
echo $? > ended
"""
_READ = f"{{ cat ended || echo; cat run/{NOTE}; }} 2> /dev/null; true"
_LOGS = f"cat {LOG} run/{OUTPUT} 2> /dev/null | tail -n {TAIL}"


class UnreachableError(InfrastructureError):
    """The machine does not accept SSH connections, not yet or no longer."""


@dataclass(slots=True)
class Remote:
    """SSH connection to the machine of a lease."""

    lease: Lease
    host: str
    """Its address, or a host name in `config`."""
    user: str = "root"
    port: int = 22
    config: Path | None = None
    """SSH configuration written by another program, with the user, the port and the key."""
    _tunnel: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _local: int = 0

    def command(self, *words: str) -> list[str]:
        """Return the ssh command with `words` as its last arguments."""
        options = {**OPTIONS, "UserKnownHostsFile": _quoted(self.lease.folder / KNOWN_HOSTS)}
        own: tuple[str, ...] = ("-F", str(self.config))
        if not self.config:
            options |= {"IdentitiesOnly": "yes", "IdentityAgent": "none"}
            options |= {"IdentityFile": _quoted(self.lease.folder / KEY)}
            own = ("-F", "none", "-l", self.user, "-p", str(self.port))
        given = (word for name, value in options.items() for word in ("-o", f"{name}={value}"))
        return ["ssh", *own, *given, *words]

    def run(self, script: str, limit: float = limits.COMMAND, *, given: Path | None = None) -> str:
        """Run a script in the folder of the lease on the machine; return its output.

        Args:
            script: a shell script, which must not contain secrets.
            limit: seconds that it may take.
            given: a file to use as its standard input.

        Raises:
            UnreachableError: the machine does not accept SSH connections.
            InfrastructureError: it fails, takes too long, or ssh is not installed.
        """
        command = self.command(self.host, self._there(script))
        done, hint = _run(command, limit, given), f"uv run invoke cloud.ssh --lease {self.lease.id}"
        if done.returncode == UNREACHABLE:
            raise UnreachableError(
                f"SSH does not reach the machine {self.lease.id} at {self.host}:"
                f" {_last_line(done.stderr)}",
                hint,
            )
        if done.returncode:
            raise InfrastructureError(
                f"a command on the machine {self.lease.id} exits with {done.returncode}:"
                f" {_last_line(done.stderr)}",
                hint,
            )
        return done.stdout

    def wait(self, limit: float = BOOT) -> None:
        """Wait until the machine accepts our key.

        Raises:
            InfrastructureError: it does not within `limit` seconds.
        """

        def reached() -> None:
            try:
                self.run("true", limits.CONNECT)
            except UnreachableError as error:
                raise NotYetError(error.message) from error

        try:
            until(reached, limit, unless=StrataError, interval=1)
        except TimeoutError as error:
            raise InfrastructureError(
                f"the machine {self.lease.id} exists, and accepts no SSH connection after"
                f" {limit:g} s: {error.__cause__}",
                "a firewall here, or of the cloud, may keep port 22 closed; then run it again",
            ) from error

    def start(self) -> None:
        """Send the project, and start the service of the lease, which outlives the connection.

        Raises:
            InfrastructureError: a step fails.
        """
        file = self.lease.folder / BUNDLE
        bundle(file)
        self.run("mkdir -p project run && tar -xzof - -C project", limits.CLOUD, given=file)
        script = _START.format(
            distribution=project.service(self.lease.service).distribution,
            service=shlex.quote(self.lease.service),
            seconds=self.lease.seconds,
        )
        self.run(f"nohup sh -c {shlex.quote(script)} > {LOG} 2>&1 < /dev/null &")

    def answering(self) -> Answering:
        """Return the service's URL and settings, through a tunnel that closes with this process.

        Raises:
            NotYetError: it is not ready yet.
            StrataError: it has exited; the message has its last lines.
        """
        try:
            code, _, text = self.run(_READ, limits.CONNECT).partition("\n")
        except UnreachableError as error:
            raise NotYetError(error.message) from error
        note: dict[str, Any] = json.loads(text) if text.strip() else {}
        if code:
            raise ended(self.lease, note, code, self.logs())
        if "url" not in note:
            raise NotYetError(f"{self.lease.service} is still being installed, or starting")
        url = self._reached(note["url"])
        if problem := readiness_error(url):
            raise NotYetError(problem)
        return Answering(url, note["settings"])

    def logs(self) -> str:
        """Return the last lines that the machine and its service have printed.

        Raises:
            InfrastructureError: the machine does not accept SSH connections.
        """
        return self.run(_LOGS, limits.CONNECT).rstrip("\n")

    def shell(self) -> list[str]:
        """Return the command that opens a shell in the folder of the lease on the machine."""
        return self.command("-t", self.host, self._there('exec "${SHELL:-/bin/sh}" -l'))

    def close(self) -> None:
        """Close the tunnel, if there is one."""
        if self._tunnel:
            self._tunnel.terminate()
            self._tunnel.communicate()
            self._tunnel = None

    def _there(self, script: str) -> str:
        """Return a script that first changes to the private folder of the lease."""
        folder = f'"$HOME"/{shlex.quote(self.lease.id)}'
        return f"umask 077; mkdir -p {folder} && cd {folder} || exit 1; {script}"

    def _reached(self, url: str) -> str:
        """Return a local URL for a port that only listens on the machine's loopback interface."""
        if self._tunnel and self._tunnel.poll() is not None:
            self.close()
        if not self._tunnel:
            self._local = programs.free_port()
            where = f"127.0.0.1:{self._local}:{url.removeprefix('http://')}"
            # Not `-N`, which would keep running if this process is killed; `cat` exits at the end
            # of its input, on every system.
            self._tunnel = subprocess.Popen(
                self.command("-L", where, self.host, "exec cat"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        return f"http://127.0.0.1:{self._local}"


def require() -> None:
    """Make sure that there is an SSH client.

    Raises:
        InfrastructureError: there is none.
    """
    _run(["ssh", "-V"], limits.LOOK)


def make_key(folder: Path) -> str:
    """Create the key pair of a lease in its folder, and return the public key.

    Raises:
        InfrastructureError: it cannot be created.
    """
    file = folder / KEY
    if not file.exists():
        words = ("-q", "-t", "ed25519", "-N", "", "-C", folder.name, "-f", str(file))
        done = _run(["ssh-keygen", *words], limits.COMMAND)
        if done.returncode:
            raise InfrastructureError(
                f"the SSH key cannot be created: {_last_line(done.stderr)}", f"ls -ld {folder}"
            )
    return file.with_suffix(".pub").read_text(encoding="utf-8").strip()


def bundle(file: Path) -> None:
    """Write the project to an archive: tracked files, and new files that git does not ignore.

    Raises:
        InfrastructureError: a file cannot be read, or the archive cannot be written.
    """

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with (
        translated("the project cannot be packed for a machine"),
        tarfile.open(file, "w:gz", compresslevel=6) as archive,
    ):
        for name in project_files():
            archive.add(ROOT / name, name, recursive=False, filter=anonymous)


def _run(command: Sequence[str], limit: float, given: Path | None = None) -> programs.Completed:
    try:
        with given.open("rb") if given else nullcontext() as source:
            return programs.run(command, limit, source=source)
    except FileNotFoundError as error:
        raise InfrastructureError(
            f"there is no program `{command[0]}`, which is needed to reach machines",
            "install the client of OpenSSH: apt install openssh-client; see"
            " https://www.openssh.com/portable.html",
        ) from error


def _quoted(file: Path) -> str:
    """Return a path quoted for ssh options: with spaces allowed and `%` escaped."""
    return '"{}"'.format(str(file).replace("%", "%%"))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it printed nothing"])[-1]
