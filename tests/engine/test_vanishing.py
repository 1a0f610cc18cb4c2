"""Docker objects that another run removes between two of our requests."""

import os
from collections.abc import Iterator

import fake_docker
import pytest

from stratakit import liveness, servers, settings
from stratakit.doctor import machine
from stratakit.errors import InfrastructureError
from stratakit.servers import docker

DEAD = f"{liveness.identity(os.getpid())}0"
"""Identity of no process: ours, with another time of its start."""
GONE = {"Id": "gone", "Labels": {docker.OWNER: DEAD}, "RepoTags": ["gone:1"]}
LISTED: fake_docker.Answers = {"/containers/json": (200, [GONE]), "/images/json": (200, [GONE])}
"""Objects that the engine lists and then no longer has: it answers 404 for each."""


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run an engine whose objects have gone."""
    with fake_docker.without_images(LISTED) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        monkeypatch.setenv("STRATA_SERVERS", "docker")
        yield


@pytest.mark.usefixtures("gone")
def test_a_container_that_another_run_removes_does_not_stop_a_lease() -> None:
    # Past the leftovers, the lease ends at the image, which this engine cannot pull.
    with (
        pytest.raises(InfrastructureError, match="pull access denied"),
        servers.lease(settings.load()),
    ):
        pass


@pytest.mark.usefixtures("gone")
def test_an_image_that_is_removed_meanwhile_does_not_stop_doctor() -> None:
    with pytest.raises(InfrastructureError, match="not pulled: postgres"):
        machine.images()
