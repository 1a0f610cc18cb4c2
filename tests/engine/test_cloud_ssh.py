"""Rented machines over a real sshd: files sent, processes started and reached, nothing left."""

import http.client
import json
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import sshd
from .hetzner_account import new_lease

from stratakit.cloud import ssh
from stratakit.cloud.leases import Lease
from stratakit.cloud.providers import Answering, NotYetError
from stratakit.cloud.ssh import Remote
from stratakit.errors import InfrastructureError, StrataError
from stratakit.servers.waiting import until

pytestmark = pytest.mark.skipif(not sshd.PROGRAM, reason=sshd.ABSENT)
STARTS = 60.0
"""Seconds that a service may take to start on a slow machine."""


@pytest.fixture
def lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """A lease in a folder whose name has a space and a percent sign, which SSH would interpret."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user's 100 %h data"))
    return new_lease()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[sshd.Machine]:
    with sshd.machine(tmp_path / "machine") as running:
        yield running


@pytest.fixture
def remote(machine: sshd.Machine, lease: Lease) -> Iterator[Remote]:
    """The machine, which accepts the key of the lease."""
    machine.keys.write_text(ssh.make_key(lease.folder))
    made = Remote(lease, machine.host, machine.user, machine.port)
    made.wait()
    yield made
    made.close()


def left(lease: Lease) -> list[psutil.Process]:
    """Return the processes with a lease's id in their command line or folder."""
    return [
        each
        for each in psutil.process_iter(["cmdline", "cwd"])
        if lease.id in " ".join([*(each.info["cmdline"] or ()), each.info["cwd"] or ""])
    ]


def tunnels(lease: Lease) -> list[psutil.Process]:
    return [each for each in left(lease) if "-L" in each.info["cmdline"]]


def answering(remote: Remote) -> Answering:
    found: list[Answering] = []
    until(lambda: found.append(remote.answering()), STARTS, unless=StrataError)
    return found[0]


def status(url: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status
    finally:
        connection.close()


def is_closed(url: str) -> bool:
    try:
        status(url)
    except OSError:
        return True
    return False


def _not_ended(remote: Remote) -> None:
    found = remote.answering()
    raise AssertionError(found.url)


class Ready(BaseHTTPRequestHandler):
    """Handler that always reports readiness."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def service() -> Iterator[str]:
    """URL of a service that is ready at once."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_service_is_sent_started_and_reached_without_exposing_secrets(
    machine: sshd.Machine, remote: Remote
) -> None:
    with pytest.raises(NotYetError, match="installed, or starting"):
        remote.answering()
    remote.start()
    found = answering(remote)
    assert status(found.url) == 200
    # No command line shows the machine's own secrets, and other users may not read them.
    commands = [" ".join(each.info["cmdline"] or ()) for each in left(remote.lease)]
    assert [command for command in commands if "stratakit.cloud.machine" in command]
    assert not [value for value in found.settings.values() if any(value in c for c in commands)]
    assert (machine.home / remote.lease.id).stat().st_mode & 0o077 == 0
    (running,) = [
        each for each in left(remote.lease) if "stratakit.cloud.machine" in each.info["cmdline"]
    ]
    running.kill()
    with pytest.raises(StrataError, match="has ended on the machine with 137"):
        until(lambda: _not_ended(remote), STARTS, unless=StrataError)


def test_a_tunnel_is_reused_and_a_broken_one_is_reopened(
    machine: sshd.Machine, remote: Remote, service: str
) -> None:
    sshd.stand_in(machine, sshd.noting(service))
    remote.start()
    found = answering(remote)
    assert found.settings == {"TOKEN": "s3cret"}
    assert remote.answering() == found
    assert remote.logs() == "up"
    (tunnel,) = tunnels(remote.lease)
    tunnel.kill()
    assert status(answering(remote).url) == 200
    remote.close()
    assert is_closed(found.url)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_tunnel_ends_when_its_run_is_killed(
    machine: sshd.Machine, remote: Remote, service: str, number: int
) -> None:
    sshd.stand_in(machine, sshd.noting(service))
    remote.start()
    script = (
        "import sys\nfrom stratakit.cloud import leases, ssh\n"
        f"(lease,) = leases.all_of()\nremote = ssh.Remote(lease, {remote.host!r},"
        f" {remote.user!r}, {remote.port})\n"
        "from stratakit.servers.waiting import until\n"
        "until(lambda: print(remote.answering().url, flush=True), 60)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        (sys.executable, "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        url = run.stdout.readline().strip()
        assert status(url) == 200
        run.send_signal(number)
        run.wait()

    def closed() -> None:
        assert is_closed(url)
        assert not tunnels(remote.lease)

    until(closed, 30)


def test_a_service_that_exits_is_reported_with_its_last_lines(
    machine: sshd.Machine, remote: Remote
) -> None:
    sshd.stand_in(machine, "echo no wheel for you\nexit 7")
    remote.start()
    with pytest.raises(StrataError, match="with 7:\nno wheel for you"):
        answering(remote)


def test_the_startup_error_of_a_service_is_quoted(machine: sshd.Machine, remote: Remote) -> None:
    said = json.dumps({"pid": 1, "error": {"code": 2, "message": "no memory", "hint": "buy some"}})
    sshd.stand_in(machine, f"echo '{said}' > $run/machine.json; exit 2")
    remote.start()
    with pytest.raises(InfrastructureError, match=r"^infrastructure: no memory\n  hint: buy some"):
        answering(remote)


def test_a_machine_that_denies_ssh_access_is_reported(machine: sshd.Machine, lease: Lease) -> None:
    ssh.make_key(lease.folder)
    remote = Remote(lease, machine.host, machine.user, machine.port)
    with pytest.raises(InfrastructureError, match=r"no SSH connection after 0\.1 s: .*denied"):
        remote.wait(0.1)
    with pytest.raises(NotYetError, match="denied"):
        remote.answering()


def test_a_machine_whose_host_key_changes_is_refused(machine: sshd.Machine, remote: Remote) -> None:
    known = remote.lease.folder / "known_hosts"
    other = machine.home / "other"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other), check=True)
    key = other.with_suffix(".pub").read_text()
    known.write_text(f"[{machine.host}]:{machine.port} {key}")
    with pytest.raises(ssh.UnreachableError, match="SSH does not reach"):
        remote.run("true")


def test_the_ssh_folder_of_the_user_is_left_unchanged(
    machine: sshd.Machine, remote: Remote, tmp_path: Path
) -> None:
    home = Path("~/.ssh").expanduser()
    before = sorted((each, each.stat().st_mtime_ns) for each in home.glob("*"))
    remote.run("true")
    assert sorted((each, each.stat().st_mtime_ns) for each in home.glob("*")) == before
    assert f"[{machine.host}]:{machine.port}" in (remote.lease.folder / "known_hosts").read_text(
        encoding="utf-8"
    )
    assert (remote.lease.folder / "key").stat().st_mode & 0o077 == 0


def test_a_shell_opens_in_the_folder_of_the_lease(machine: sshd.Machine, remote: Remote) -> None:
    done = subprocess.run(
        remote.shell(), input="pwd\nexit\n", capture_output=True, text=True, check=False
    )
    assert str(machine.home / remote.lease.id) in done.stdout


def test_an_ssh_configuration_of_another_tool_is_used(
    machine: sshd.Machine, remote: Remote, tmp_path: Path
) -> None:
    config = tmp_path / "config of a tool"
    config.write_text(
        f"Host cluster\n HostName {machine.host}\n Port {machine.port}\n User {machine.user}\n"
        f" IdentityFile {tmp_path}/key\n UserKnownHostsFile /dev/null\n"
    )
    (tmp_path / "key").write_bytes((remote.lease.folder / "key").read_bytes())
    (tmp_path / "key").chmod(0o600)
    assert Remote(remote.lease, "cluster", config=config).run("echo here").strip() == "here"


def test_a_failing_remote_command_is_reported_with_its_last_line(remote: Remote) -> None:
    with pytest.raises(InfrastructureError, match="exits with 3: no room") as caught:
        remote.run("echo begun >&2; echo no room >&2; exit 3")
    assert caught.value.hint == f"uv run invoke cloud.ssh --lease {remote.lease.id}"


def test_an_ssh_key_is_created_once_and_a_missing_folder_is_reported(lease: Lease) -> None:
    assert ssh.make_key(lease.folder) == ssh.make_key(lease.folder)
    with pytest.raises(InfrastructureError, match="the SSH key cannot be created"):
        ssh.make_key(lease.folder / "absent")


def test_a_missing_ssh_client_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lease: Lease
) -> None:
    ssh.require()
    monkeypatch.setenv("PATH", str(tmp_path))
    for attempt in (ssh.require, lambda: ssh.make_key(lease.folder)):
        with pytest.raises(InfrastructureError, match="there is no program `ssh") as caught:
            attempt()
        assert "apt install openssh-client" in caught.value.hint


def test_the_bundle_holds_the_project_without_environments_reports_or_git(tmp_path: Path) -> None:
    ssh.bundle(tmp_path / "bundle")
    with tarfile.open(tmp_path / "bundle") as archive:
        members = archive.getmembers()
    names = {member.name for member in members}
    assert {"pyproject.toml", "noxfile.py", "vendor/stratakit/pyproject.toml"} <= names
    assert not [name for name in names if name.startswith((".nox/", ".git/", ".venv/", "reports/"))]
    assert {(member.uid, member.uname) for member in members} == {(0, "")}
