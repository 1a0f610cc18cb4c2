"""Tests of a project's Compose stack, which `tests/infrastructure/test_compose.py` imports."""

import socket
from collections.abc import Iterator

import pytest

from .. import project, servers
from ..errors import Code
from ..infra import gate
from ..pyproject import ROOT
from ..stack import containers
from . import compose
from .compose import StackCopy

SERVICES = [each for each in project.services() if each.port is not None]
if not SERVICES:
    pytest.skip("no service listens on a port", allow_module_level=True)
FIRST = SERVICES[0].name
NEEDED = [kind for kind in servers.KINDS if any(kind in each.needs for each in SERVICES)]
PSQL = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-qtA", "-c")
REDIS = ("exec", "-T", "redis", "redis-cli")
STORE = {
    "postgres": (*PSQL, "CREATE TABLE kept AS SELECT 42 AS answer"),
    "redis": (*REDIS, "set", "kept", "42"),
}
LOAD = {"postgres": (*PSQL, "SELECT answer FROM kept"), "redis": (*REDIS, "get", "kept")}
EXTRA = """
services:
  extra:
    image: redis:8-alpine
    profiles: [extra]
    tmpfs: [/data] # Otherwise the image creates an anonymous volume, which outlives the test.
    mem_limit: 64m
"""


def states(stack: StackCopy) -> dict[str, str]:
    """Return the state of each part of the stack."""
    return {name: each["state"] for name, each in stack.status().items()}


class TestConfig:
    """Checks of the configuration that need no Docker engine."""

    def test_policies_find_nothing_in_the_compose_files(self) -> None:
        assert gate.judge([]).findings == []

    def test_services_publish_their_ports_on_this_machine_alone_and_have_limits(self) -> None:
        model = containers.model({})["services"]
        assert model.keys() == {each.name for each in SERVICES}
        for service in model.values():
            assert all(port.startswith("127.0.0.1:") for port in service["ports"])
            assert service["mem_limit"]

    @pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
    def test_the_image_of_a_service_says_how_its_health_is_checked(
        self, service: project.Service
    ) -> None:
        text = (ROOT / service.path / "Dockerfile").read_text(encoding="utf-8")
        assert "\nHEALTHCHECK " in text


class TestStack:
    """Tests of a copy of the project that is started, restarted, broken and taken down."""

    @pytest.fixture(scope="class")
    @classmethod
    def stack(cls) -> Iterator[StackCopy]:
        """A copy of the project, whose stack is removed after the tests."""
        with compose.copied() as stack:
            yield stack

    @pytest.fixture
    def up(self, stack: StackCopy) -> StackCopy:
        """The copy with its whole stack up."""
        stack.invoke("stack.up")
        return stack

    def test_servers_alone_become_healthy_and_no_service_is_started(self, stack: StackCopy) -> None:
        stack.invoke("stack.down")
        stack.compose("up", "--detach", "--wait")
        found = states(stack)
        assert {found[kind] for kind in servers.KINDS} == {"healthy"}
        assert {found[each.name] for each in SERVICES} == {"stopped"}

    def test_everything_becomes_healthy_and_a_second_start_changes_nothing(
        self, up: StackCopy
    ) -> None:
        before = up.status()
        healthy = {name for name, each in before.items() if each["state"] == "healthy"}
        assert healthy >= {*NEEDED, *(each.name for each in SERVICES)}
        assert "nothing has changed" in up.invoke("stack.up")
        kept = {name: each["container"] for name, each in up.status().items()}
        assert kept == {name: each["container"] for name, each in before.items()}

    def test_a_restart_keeps_what_is_stored(self, up: StackCopy) -> None:
        for kind in NEEDED:
            up.compose(*STORE[kind])
        up.invoke("stack.down")
        assert "nothing was up" in up.invoke("stack.down")
        up.invoke("stack.up")
        assert {kind: up.compose(*LOAD[kind]) for kind in NEEDED} == dict.fromkeys(NEEDED, "42")

    def test_one_service_is_swapped_while_the_rest_serve_under_load(self, up: StackCopy) -> None:
        before = up.status()
        rest = [each for name, each in before.items() if name != FIRST]
        with compose.traffic(rest) as problems:
            up.invoke("stack.restart", "--service", FIRST)
        assert problems == []
        after = up.status()
        assert after[FIRST]["state"] == "healthy"
        changed = [name for name in after if after[name]["container"] != before[name]["container"]]
        assert changed == [FIRST]

    def test_a_profile_adds_what_it_names_and_down_takes_it_away(self, up: StackCopy) -> None:
        file = up.folder / "compose.override.yaml"
        file.write_text(EXTRA, encoding="utf-8")
        try:
            up.invoke("stack.up")
            assert "extra" not in up.status()
            up.invoke("stack.up", COMPOSE_PROFILES="extra")
            assert up.status()["extra"]["state"] != "stopped"
            up.invoke("stack.down")
            assert "container" not in up.left()
        finally:
            file.unlink()

    def test_a_port_that_is_taken_is_named_before_anything_starts(self, stack: StackCopy) -> None:
        stack.invoke("stack.down")
        text = (stack.folder / "services" / FIRST / "pyproject.toml").read_text(encoding="utf-8")
        port = int(text.partition("\nport = ")[2].partition("\n")[0])
        with socket.create_server(("127.0.0.1", port)):
            said = stack.invoke("stack.up", code=Code.INFRASTRUCTURE)
        assert f"the port {port} of {FIRST} is taken by" in said
        assert "container" not in stack.left()

    @pytest.mark.skipif(not NEEDED, reason="no service needs a server")
    def test_a_service_that_does_not_get_healthy_is_named_with_its_last_lines(
        self, up: StackCopy
    ) -> None:
        up.compose("stop", NEEDED[0])
        name = next(each.name for each in SERVICES if NEEDED[0] in each.needs)
        said = up.invoke("stack.wait", "--timeout", "2", code=Code.INFRASTRUCTURE)
        assert f"{name} is not healthy after 2 s: /health/ready answers 503" in said
        assert "its last lines:" in said

    def test_a_container_that_is_killed_is_reported_and_comes_back(self, up: StackCopy) -> None:
        container = up.status()[FIRST]["container"]
        up.kill(container)
        assert states(up)[FIRST] == "dead"
        assert f"dead: {FIRST}" in up.invoke("stack.status", code=Code.INFRASTRUCTURE)
        up.invoke("stack.up")
        assert states(up)[FIRST] == "healthy"

    def test_clean_leaves_no_container_volume_network_or_image(self, up: StackCopy) -> None:
        assert {*up.left()} == {*compose.KINDS}
        up.invoke("stack.clean", "--yes")
        up.invoke("stack.clean", "--yes")
        assert up.left() == {}
