"""Local clouds: they listen on this machine only, and their clients connect to nothing else."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import build_opener, urlopen

import psutil
import pytest

from stratakit import limits, settings
from stratakit.errors import ConfigurationError, InfrastructureError
from stratakit.infra import clouds, kept, terraform, tools
from stratakit.servers.waiting import until
from stratakit.stack.health import State

HOSTILE = {
    "AWS_ACCESS_KEY_ID": "AKIAMINE",
    "AWS_ENDPOINT_URL": "https://203.0.113.1",
    "AWS_ENDPOINT_URL_STS": "https://203.0.113.1",
    "AWS_PROFILE": "production",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/key.json",
    "STORAGE_EMULATOR_HOST": "https://203.0.113.1",
    "HTTPS_PROXY": "http://203.0.113.1:3128",
    "http_proxy": "http://203.0.113.1:3128",
    "no_proxy": "*",
}
ROOT = """
provider "aws" {}
data "aws_caller_identity" "me" {}
output "account" {
  value = data.aws_caller_identity.me.account_id
}
"""


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment variables that lead to a user's accounts and proxies."""
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=sorted(clouds.CLOUDS))
def cloud(request: pytest.FixtureRequest) -> str:
    """The name of a local cloud; it is ABSENT where its tool cannot be installed."""
    name: str = request.param
    tools.provide(clouds.CLOUDS[name].tool)
    return name


def listeners(process: psutil.Process) -> set[tuple[str, int]]:
    """Return the addresses that a process and its descendants listen on."""
    return {
        (each.laddr.ip, each.laddr.port)
        for one in (process, *process.children(recursive=True))
        for each in one.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }


def test_a_local_cloud_listens_on_loopback_only_and_leaves_nothing_when_it_ends(cloud: str) -> None:
    before = {*psutil.Process().children()}
    with clouds.running(cloud) as endpoint:
        (server,) = {*psutil.Process().children()} - before
        folder = Path(server.cwd())
        assert listeners(server) == {("127.0.0.1", int(endpoint.rpartition(":")[2]))}
    assert not server.is_running()
    assert not folder.exists()


def test_a_local_cloud_ends_with_a_run_that_is_killed(cloud: str) -> None:
    script = (
        "import sys\nfrom stratakit.infra import clouds\n"
        f"with clouds.running({cloud!r}) as endpoint:\n    print(endpoint, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as run:
        assert run.stdout
        assert run.stdout.readline().startswith(b"http://127.0.0.1:")
        (server,) = psutil.Process(run.pid).children()
        folder, processes = Path(server.cwd()), [server, *server.children(recursive=True)]
        run.kill()
    _, alive = psutil.wait_procs(processes, limits.PROCESS)
    assert alive == []
    assert not folder.exists()


def test_the_environment_of_a_local_cloud_has_no_docker_engine_and_no_user_settings(
    cloud: str, hostile: None
) -> None:
    own = clouds.variables(clouds.CLOUDS[cloud], 1, Path("/a"))
    ours = {"HOME", "TMPDIR", "DOCKER_HOST", *clouds.CLOUDS[cloud].variables}
    assert own.keys() <= {"PATH", "LANG"} | ours
    assert own["DOCKER_HOST"] == "unix:///a/no-docker.sock"


def test_clients_of_a_local_cloud_ignore_the_users_accounts_and_proxies(
    cloud: str, hostile: None
) -> None:
    before = dict(os.environ)
    with clouds.running(cloud) as endpoint:
        left = {name: os.environ.get(name) for name in HOSTILE}
        assert not {*left.items()} & {*HOSTILE.items()}
        assert endpoint in left.values()
        urlopen(endpoint + clouds.CLOUDS[cloud].probe).close()  # noqa: S310 - one of ours
        # An unknown host would do as well; this is the error if every host can be reached.
        with pytest.raises(URLError, match="refused"):
            # `urlopen` keeps the proxies of its first call.
            build_opener().open("https://sts.amazonaws.com")
    assert dict(os.environ) == before


def test_the_aws_provider_of_terraform_uses_only_the_local_cloud(
    tmp_path: Path, hostile: None
) -> None:
    module = tmp_path / "modules" / "who"
    module.mkdir(parents=True)
    (module / "main.tf").write_text(ROOT)
    with terraform.workspace(tmp_path / "modules") as work:
        settings_of = {**clouds.AWS_PROVIDER, "region": "eu-central-1"}
        work.configure("who", aws=settings_of)
        work.init("who")
        with clouds.running("aws"):
            plan = work.plan("who")
    assert plan["planned_values"]["outputs"]["account"]["value"] == "000000000000"


@pytest.mark.parametrize("name", [each.setting for each in clouds.CLOUDS.values()])
@pytest.mark.parametrize(
    "elsewhere", ["https://ec2.eu-central-1.amazonaws.com", "http://127.0.0.1.example.org"]
)
def test_a_local_cloud_on_another_machine_is_refused(
    name: str, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, elsewhere)
    with pytest.raises(ConfigurationError, match="not on this machine"):
        settings.load()


@pytest.mark.parametrize("cloud", sorted(clouds.CLOUDS))
def test_a_given_local_cloud_is_used_and_none_is_started(
    cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = psutil.Process().children()
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = clouds.address(server.getsockname()[1])
        monkeypatch.setenv(clouds.CLOUDS[cloud].setting, given)
        with clouds.running(cloud) as endpoint:
            assert endpoint == given
            assert given in os.environ.values()
            assert psutil.Process().children() == before


def test_a_local_cloud_that_cannot_start_is_reported_as_ended(
    cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(clouds, "free_port", lambda: port)
        with pytest.raises(InfrastructureError, match="has ended"), clouds.running(cloud):
            pass


@pytest.fixture
def kept_cloud(cloud: str) -> Iterator[str]:
    """Name of a local cloud that is stopped before and after the test."""
    kept.down(cloud)
    yield cloud
    kept.down(cloud)


def test_a_kept_local_cloud_runs_until_it_is_stopped(kept_cloud: str) -> None:
    assert kept.status(kept_cloud) == (State.STOPPED, "")
    endpoint = kept.up(kept_cloud)
    assert kept.up(kept_cloud) == endpoint
    assert kept.status(kept_cloud) == (State.RUNNING, endpoint)
    assert kept.down(kept_cloud)
    assert not kept.down(kept_cloud)
    with pytest.raises(URLError):
        urlopen(endpoint)  # noqa: S310 - one of ours


def test_a_killed_kept_local_cloud_is_dead_and_can_be_started_again(kept_cloud: str) -> None:
    endpoint = kept.up(kept_cloud)
    process = psutil.Process(kept.Process(kept_cloud, kept.HOME).facts()["process"])
    assert {address for address, _ in listeners(process)} == {"127.0.0.1"}
    process.kill()
    process.wait()

    def noted() -> None:
        assert kept.status(kept_cloud)[0] == State.DEAD

    until(noted, limits.PROCESS)
    assert kept.up(kept_cloud) != endpoint
