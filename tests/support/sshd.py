"""A machine to reach over SSH: an sshd on this computer, with its own home and programs."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAM = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
ABSENT = "there is no sshd here, which the package openssh-server has"
UV = """\
#!/bin/sh
# Runs what uv would have run with the Python of the tests, whose environment has everything.
while [ "$1" != python ]; do shift; done
shift
exec "{python}" "$@"
"""


def address() -> str:
    """Return a loopback address of this process's own, so that its port 22 is free."""
    number = os.getpid()
    return f"127.77.{number >> 8 & 255}.{number & 255}"


@dataclass(frozen=True)
class Machine:
    """A machine that accepts one key."""

    host: str
    port: int
    user: str
    home: Path
    keys: Path
    """Path of the public keys that it accepts."""

    def processes(self) -> list[psutil.Process]:
        """Return its processes: those with its home in their working directory or arguments."""
        home, found = str(self.home), []
        for each in psutil.process_iter(["cmdline", "cwd"]):
            if home in " ".join([*(each.info["cmdline"] or ()), each.info["cwd"] or ""]):
                found.append(each)
        return found

    def off(self) -> None:
        """Terminate its processes, but not servers, which others may use and which stop by themselves."""
        own = [each for each in self.processes() if "supervisor.py" not in " ".join(each.cmdline())]
        for process in own:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in psutil.wait_procs(own, 30)[1]:
            process.kill()


@contextmanager
def machine(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Machine]:
    """Run a machine in its own folder.

    Args:
        folder: its folder, which is created.
        host: its address.
        port: its SSH port; by default a free one.
        environment: variables of its commands. By default a stand-in for uv is on PATH.

    Raises:
        OSError: listening on that port is not permitted here.
    """
    home, programs, keys = folder / "home", folder / "bin", folder / "authorized_keys"
    for each in (home, programs):
        each.mkdir(parents=True)
    if environment is None:
        environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
        (programs / "uv").write_text(UV.format(python=sys.executable))
        (programs / "uv").chmod(0o755)
    with socket.create_server((host, port)) as free:
        port = free.getsockname()[1]
    subprocess.run(
        ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")), check=True
    )
    config = folder / "sshd_config"
    variables = [f'"{name}={value}"' for name, value in {**environment, "HOME": home}.items()]
    config.write_text(
        f"ListenAddress {host}\nPort {port}\n"
        f'HostKey "{folder / "host_key"}"\nAuthorizedKeysFile "{keys}"\nPidFile none\n'
        "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"SetEnv {' '.join(variables)}\n"
    )
    if os.geteuid() == 0:
        # sshd's folder for privilege separation; init creates it, which containers lack.
        Path("/run/sshd").mkdir(exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context((folder / "sshd.log").open("wb"))
        server = stack.enter_context(
            subprocess.Popen((str(PROGRAM), "-D", "-e", "-f", str(config)), stderr=log)
        )
        stack.callback(server.terminate)
        made = Machine(host, port, getpass.getuser(), home, keys)
        try:
            yield made
        finally:
            made.off()


def stand_in(machine: Machine, script: str) -> None:
    """Replace uv by a script, run in the project's folder; `$run` is the folder for notes."""
    (machine.home.parent / "bin" / "uv").write_text(f"#!/bin/sh\nrun=../run\n{script}\n")


def noting(url: str) -> str:
    """Return a script that reports a running service, with a secret of its own."""
    note = json.dumps({"url": url, "settings": {"TOKEN": "s3cret"}})
    return f"echo '{note}' > $run/machine.json; echo up; exec sleep 600"
