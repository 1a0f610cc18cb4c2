"""The services of a baked project, run as a developer runs them: with Docker and without."""

import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import fake_docker
import pytest
from baking import Bakery
from project import PATIENCE, Changes, Outcome, Project, free_port, has_images, processes, until

pytestmark = [
    pytest.mark.proof(of="stack"),
    pytest.mark.timeout(600),
]

ITEMS = "/v1/items"
SERVERS = ("postgres", "redis")
needs_images = pytest.mark.skipif(
    not has_images("python:3.13-slim"), reason="no Docker engine that can build answers"
)
# A service whose health is in the file `mood` of its working directory.
TELLER = """
import http.server, json, os, sys
from functools import cached_property
from pathlib import Path

MOOD = Path("mood")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        well = MOOD.read_text() == "well"
        self.send_response(200 if well else 503)
        self.end_headers()
        own = {"key": os.environ["TELLER_KEY"], "word": os.environ.get("TELLER_WORD")}
        told = own if well else {"detail": "in no mood"}
        self.wfile.write(json.dumps(told).encode())


if MOOD.read_text() == "dying":
    sys.exit("cannot go on like this")
print("at your service", flush=True)
address = (os.environ["TELLER_HOST"], int(os.environ["TELLER_PORT"]))
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""
MANIFEST = """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "teller"
version = "0"
requires-python = ">=3.11"

[tool.hatch.build.targets.wheel]
packages = ["src/teller"]

[tool.stratakit.service]
package = "teller"
port = {port}
needs = []
metadata = "teller:NONE"
secrets = ["KEY"]
"""
COMPANION = """
services:
  companion:
    image: redis:8-alpine
    profiles: ["company"]
"""


class Stack(Project):
    """A project with two services: the real one, and one whose health a test decides."""

    source = "embedded"

    def invoke(self, *arguments: str, **env: str) -> Outcome:
        """Run an action of the project."""
        variables = {"STRATA_SERVERS": self.source, **env}
        return self.outcome(".venv/bin/invoke", *arguments, env=variables)

    def green(self, *arguments: str, **env: str) -> str:
        """Run an action that must succeed; return its output."""
        outcome = self.invoke(*arguments, **env)
        assert outcome.code == 0, outcome.output
        return outcome.output

    @contextmanager
    def foreground(self, service: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a service in the foreground for the duration of the block."""
        with subprocess.Popen(
            (".venv/bin/invoke", "service.run", service),
            cwd=self.path,
            env={**self.environment, "STRATA_SERVERS": self.source},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            try:
                yield running
            finally:
                running.terminate()

    def states(self, *arguments: str) -> tuple[str, dict[str, dict[str, Any]]]:
        """Run actions; return their output, and the status of servers and services afterwards."""
        output = self.green(*arguments, "stack.status", "--json")
        printed, listed = re.split(r"^(?=\[$)", output, maxsplit=1, flags=re.MULTILINE)
        return printed, {each["name"]: each for each in json.loads(listed)}

    def manifest(self, service: str) -> Path:
        """Return the path of a service's pyproject.toml."""
        return self.path / "services" / service / "pyproject.toml"

    def port(self, service: str) -> int:
        """Return the port of a service."""
        text = self.manifest(service).read_text(encoding="utf-8")
        return int(text.partition("\nport = ")[2].partition("\n")[0])

    def move(self, service: str, port: int) -> None:
        """Give a service another port."""
        file = self.manifest(service)
        text = file.read_text(encoding="utf-8")
        old, new = f"\nport = {self.port(service)}\n", f"\nport = {port}\n"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def mood(self, mood: str) -> None:
        """Set the health of the second service."""
        (self.path / "mood").write_text(mood, encoding="utf-8")

    @cached_property
    def cache(self) -> Path:
        """The project's cache folder on this machine."""
        find = "from stratakit.servers import home; print(home.cache())"
        return Path(self.run(".venv/bin/python", "-c", find).stdout.strip())

    @cached_property
    def data(self) -> Path:
        """Folder with the data of `dev`."""
        find = "from stratakit.servers import home; print(home.data())"
        return Path(self.run(".venv/bin/python", "-c", find).stdout.strip())

    def processes(self) -> list[str]:
        """Return the processes of the project and of its servers."""
        names = (str(self.path), f"/{self.answers['project_slug']}")
        return [line for line in processes() if any(name in line for name in names)]

    def left_in_docker(self) -> str:
        """Return the project's containers, volumes, networks and images in Docker."""
        label = f"label=com.docker.compose.project={self.answers['project_slug']}"
        kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"), ("image", "ls"))
        asked = (("docker", *kind, "--quiet", "--filter", label) for kind in kinds)
        return "".join(self.run(*words).stdout for words in asked)

    def gone(self) -> None:
        """Wait until no process of the project is left: a server takes a moment to stop."""
        until(lambda: not self.processes())


def bake_stack(bake: Bakery, folder: Path) -> Stack:
    """Bake a project on free ports, with a name unique to this run."""
    slug = f"stack-{secrets.token_hex(4)}"
    baked = bake.into(folder, project_name="Acme Stack", project_slug=slug)
    stack = Stack(baked.path, {**baked.answers, "project_slug": slug}, baked.environment)
    stack.move("gateway", free_port())
    teller = stack.path / "services/teller"
    (teller / "src/teller").mkdir(parents=True)
    (teller / "src/teller/__init__.py").touch()
    (teller / "src/teller/__main__.py").write_text(TELLER, encoding="utf-8")
    stack.manifest("teller").write_text(MANIFEST.format(port=free_port()), encoding="utf-8")
    stack.mood("well")
    return stack


@pytest.fixture(scope="module")
def stack(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The project that all tests share; each leaves nothing running."""
    stack = bake_stack(bake, tmp_path_factory.mktemp("stack with ä space"))
    stack.run("uv", "lock", "--quiet")
    stack.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    yield stack
    stack.gone()
    # Neither exists if no test has started anything.
    for folder in (stack.cache, stack.data):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def teller(stack: Stack) -> Iterator[Stack]:
    """The project, with its second service healthy, and stopped after the test."""
    stack.mood("well")
    yield stack
    # It may have a port that the service no longer uses.
    (stack.path / ".env").unlink(missing_ok=True)
    if stack.processes():
        # Including its data, which the next test would find migrated.
        stack.green("stack.clean", "--yes")
        stack.gone()


def ask(port: int, path: str, body: object = None) -> Any:
    """Send a request to a service, bypassing proxies; return the parsed response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    assert answer.status < 300, content
    return json.loads(content)


def program(folder: Path, name: str, does: str) -> str:
    """Create a shell script; return a PATH with it in first place."""
    (folder / name).write_text(f"#!/bin/sh\n{does}\n", encoding="ascii")
    (folder / name).chmod(0o755)
    return os.pathsep.join((str(folder), os.environ["PATH"]))


def answers(port: int, path: str, **facts: object) -> bool:
    """Return whether a service responds, with these values."""
    try:
        return bool(ask(port, path).items() >= facts.items())
    except (AssertionError, OSError, http.client.HTTPException):
        return False


def the_stack_lives(stack: Stack) -> None:
    """Check the life cycle of a stack."""
    port = stack.port("gateway")
    url = f"http://127.0.0.1:{port}"
    services = ("--service", "gateway")

    printed, before = stack.states("stack.up", *services)
    for told in (f"servers: {stack.source}", "migrated gateway; started gateway", f"{url}/docs"):
        assert told in printed
    assert before["gateway"]["url"] == url
    assert {before[name]["state"] for name in SERVERS} <= {"healthy", "running"}
    assert (before["gateway"]["state"], before["teller"]["state"]) == ("healthy", "stopped")
    made = ask(port, ITEMS, {"name": "lamp"})

    look = ("stack.wait", *services, "stack.logs", *services, "--lines", "2")
    printed, after = stack.states("stack.up", *services, *look)
    assert "everything was up already; nothing has changed" in printed
    assert len(printed.partition("==> gateway <==\n")[2].splitlines()) == 2
    assert [after[name]["since"] for name in (*SERVERS, "gateway")] == [
        before[name]["since"] for name in (*SERVERS, "gateway")
    ]

    printed, after = stack.states("stack.restart", *services)
    assert "started gateway" in printed
    assert after["gateway"]["since"] > before["gateway"]["since"]

    assert "gateway: stopped" in stack.green("stack.down")
    stack.gone()
    assert not answers(port, "/health/live")

    stack.green("stack.up", *services)
    assert ask(port, f"{ITEMS}/{made['id']}") == made

    cleaned = stack.green("stack.clean", "--yes")
    assert "gateway: stopped" in cleaned
    stack.gone()
    assert not (stack.cache / "stack").exists()
    if stack.source == "docker":
        assert not stack.left_in_docker()


def test_a_stack_starts_restarts_stops_and_is_cleaned_without_docker(stack: Stack) -> None:
    the_stack_lives(stack)


@needs_images
def test_a_stack_starts_restarts_stops_and_is_cleaned_through_compose(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "source", "docker")
    the_stack_lives(stack)


@needs_images
def test_a_companion_container_runs_only_if_its_compose_profile_is_set(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "source", "docker")
    up = ("stack.up", "--service", "gateway")
    with Changes(stack) as changes:
        changes.write("services/gateway/compose.yaml", COMPANION)
        assert "companion" not in stack.states(*up)[1]
        stack.green(*up, COMPOSE_PROFILES="company")
        assert stack.states()[1]["companion"]["state"] == "running"
        assert "companion" in stack.green("stack.down")
        assert "companion" not in stack.states()[1]
        stack.green("stack.clean", "--yes")
    assert not stack.left_in_docker()


@needs_images
def test_a_failed_image_build_exits_with_1_and_a_missing_base_image_with_2(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "source", "docker")
    for old, new, code, says in (
        (
            "FROM python:${PYTHON}-slim AS builder",
            "FROM nowhere.invalid/x AS builder",
            2,
            "unavailable",
        ),
        ("ARG UV=", "RUN echo why && bogus\nARG UV=", 1, "bogus: not found"),
    ):
        with Changes(stack) as changes:
            changes.replace("services/gateway/Dockerfile", old, new)
            outcome = stack.invoke("stack.up", "--service", "gateway")
        assert outcome.code == code, outcome.output
        assert says in outcome.output


@needs_images
def test_stack_status_reports_that_its_docker_engine_is_gone(stack: Stack) -> None:
    record = stack.cache / "stack" / "record.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"source": "docker", "root": str(stack.path)}), encoding="utf-8")
    outcome = stack.invoke("stack.status", DOCKER_HOST="unix:///nonexistent/docker.sock")
    record.unlink()
    assert outcome.code == 2, outcome.output
    assert "the stack is in containers, and no Docker engine answers" in outcome.output


def test_service_run_reloads_edited_code_and_ends_cleanly_with_ctrl_c(stack: Stack) -> None:
    port = free_port()
    run = (".venv/bin/invoke", "service.run", "gateway", "--reload", "--port", str(port))
    with (
        Changes(stack) as changes,
        subprocess.Popen(
            run,
            cwd=stack.path,
            env={**stack.environment, "STRATA_SERVERS": "embedded"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as running,
    ):
        until(lambda: answers(port, "/health/ready", status="ready"))
        changes.replace("libs/servicebase/src/servicebase/health.py", '"ready"', '"edited"')
        until(lambda: answers(port, "/health/ready", status="edited"))
        os.killpg(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, output
    assert f"gateway: http://127.0.0.1:{port}" in output
    assert "Traceback" not in output
    stack.green("stack.clean", "--yes")
    stack.gone()


def test_a_taken_port_is_reported_with_its_process_and_another_port(teller: Stack) -> None:
    port = teller.port("teller")
    with socket.create_server(("127.0.0.1", port)):
        outcome = teller.invoke("stack.up")
    assert outcome.code == 2, outcome.output
    assert f"the port {port} of teller is taken by" in outcome.output
    assert f"(pid {os.getpid()} in " in outcome.output
    assert re.search(r"or TELLER_PORT=\d+ in \.env$", outcome.output, re.MULTILINE)
    assert teller.processes() == []


@pytest.mark.parametrize("port", [-1, 0, 70000])
def test_an_invalid_port_is_a_configuration_error(port: int, stack: Stack) -> None:
    outcome = stack.invoke("service.run", "gateway", f"--port={port}")
    assert outcome.code == 3, outcome.output
    assert f"--port is {port}, and has to be a number from 1 to 65535" in outcome.output


def test_a_taken_port_is_reported_even_if_docker_hangs(teller: Stack, tmp_path: Path) -> None:
    port = teller.port("teller")
    path = program(tmp_path, "docker", "exec sleep 600")
    with socket.create_server(("127.0.0.1", port)):
        outcome = teller.invoke("stack.up", "--service", "teller", PATH=path)
    assert outcome.code == 2, outcome.output
    assert f"(pid {os.getpid()} in " in outcome.output


@pytest.mark.parametrize(
    ("does", "code", "says"),
    [
        ("test version = $2 || { echo services must be a mapping; exit 1; }", 2, "a mapping"),
        ("echo compose is not a docker command; exit 1", 0, "nothing was up"),
    ],
    ids=["broken files", "no plugin"],
)
def test_stack_down_fails_on_broken_compose_files_but_not_without_compose(
    does: str, code: int, says: str, stack: Stack, tmp_path: Path
) -> None:
    with fake_docker.without_images() as address:
        path = program(tmp_path, "docker", does)
        outcome = stack.invoke("stack.down", DOCKER_HOST=address, PATH=path)
    assert outcome.code == code, outcome.output
    assert says in outcome.output


def test_two_services_with_the_same_port_are_a_configuration_error(teller: Stack) -> None:
    with Changes(teller) as changes:
        port = teller.port("gateway")
        changes.replace("services/teller/pyproject.toml", f"= {teller.port('teller')}", f"= {port}")
        outcome = teller.invoke("stack.up")
    assert outcome.code == 3, outcome.output
    assert f"the services gateway and teller have the same port, {port}" in outcome.output


def test_a_dead_service_is_reported_and_started_again(teller: Stack) -> None:
    _, states = teller.states("stack.up", "--service", "teller")
    os.kill(states["teller"]["process"], signal.SIGKILL)
    teller.gone()
    status, wait = teller.invoke("stack.status"), teller.invoke("stack.wait", "--service", "teller")
    assert (status.code, wait.code) == (2, 2)
    assert "killed by signal 9" in status.output
    assert "teller is dead: killed by signal 9" in wait.output
    assert "at your service" in wait.output
    assert "started teller" in teller.green("stack.up", "--service", "teller")


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_dead_server_of_running_services_is_reported_and_started_again(
    kind: str, teller: Stack
) -> None:
    _, states = teller.states("stack.up", "--service", "gateway")
    os.kill(states[kind]["process"], signal.SIGKILL)
    until(lambda: teller.invoke("stack.status").code == 2)
    said = teller.invoke("stack.status").output
    assert re.search(
        rf"^{kind} +dead .*it is gone, and services that need it are up", said, re.MULTILINE
    )
    assert f"started {kind}" in teller.green("stack.up", "--service", "gateway")
    assert teller.states()[1][kind]["state"] == "healthy"


def test_stack_up_restarts_a_service_whose_code_has_changed(teller: Stack) -> None:
    up = ("stack.up", "--service", "teller")
    _, before = teller.states(*up)
    with Changes(teller) as changes:
        changes.replace("services/teller/src/teller/__main__.py", "at your service", "edited")
        assert "started teller" in teller.green(*up)
        assert "edited" in teller.green("stack.logs", "--service", "teller")
        _, after = teller.states(*up)
    assert after["teller"]["process"] != before["teller"]["process"]
    assert "nothing has changed" not in teller.green(*up)
    assert "nothing has changed" in teller.green(*up)


def test_a_stale_process_id_is_reported_and_its_new_process_is_not_stopped(teller: Stack) -> None:
    teller.green("stack.up", "--service", "teller")
    note = teller.cache / "stack" / "teller" / "note.json"
    facts = json.loads(note.read_text(encoding="utf-8"))
    os.killpg(facts["group"], signal.SIGKILL)
    teller.gone()
    with subprocess.Popen(["sleep", "600"]) as other:
        note.write_text(json.dumps({**facts, "process": other.pid}), encoding="utf-8")
        outcome = teller.invoke("stack.status")
        assert outcome.code == 2
        assert f"pid {other.pid} is stale" in outcome.output
        teller.green("stack.up", "--service", "teller", "stack.down")
        assert other.poll() is None
        other.kill()


def test_an_unhealthy_service_is_reported_with_its_last_lines_after_a_timeout(
    teller: Stack,
) -> None:
    only = ("--service", "teller")
    teller.mood("ill")
    up = teller.invoke("stack.up", *only, "--timeout", "1")
    wait = teller.invoke("stack.wait", *only, "--timeout", "0.1")
    for outcome, waited in ((up, "1"), (wait, "0.1")):
        assert outcome.code == 2, outcome.output
        assert f"teller is not healthy after {waited} s" in outcome.output
        assert "503: in no mood" in outcome.output
        assert "at your service" in outcome.output
    assert teller.states()[1]["teller"]["state"] == "running"
    teller.mood("well")
    teller.green("stack.wait", *only, "--timeout", "30")


def test_a_service_that_ends_at_once_is_reported_with_its_last_lines(teller: Stack) -> None:
    teller.mood("dying")
    outcome = teller.invoke("stack.up", "--service", "teller")
    assert outcome.code == 2, outcome.output
    assert "teller is dead: ended with exit code 1" in outcome.output
    assert "cannot go on like this" in outcome.output


def test_an_invalid_service_setting_in_dotenv_is_a_configuration_error(teller: Stack) -> None:
    with Changes(teller) as changes:
        changes.write(".env", "GATEWAY_DATABASE_POOL_SIZE=0\nGATEWAY_DATABASE_URL=overridden\n")
        outcome = teller.invoke("stack.up", "--service", "gateway")
    assert outcome.code == 3, outcome.output
    assert "GATEWAY_DATABASE_POOL_SIZE" in outcome.output
    assert ".env sets GATEWAY_DATABASE_URL itself" in outcome.output
    assert "GATEWAY_DATABASE_URL:" not in outcome.output


def test_a_secret_comes_from_the_user_or_is_generated_once_for_the_project(teller: Stack) -> None:
    only = ("--service", "teller")

    def key(**env: str) -> str:
        teller.green("stack.restart", *only, **env)
        return str(ask(teller.port("teller"), "/")["key"])

    made = key()
    assert len(made) > 40
    assert key() == made
    with Changes(teller) as changes:
        changes.write(".env", "TELLER_KEY='in the file'\nTELLER_WORD=hello\nTELLER_HOST=::1\n")
        assert key() == "in the file"
        assert ask(teller.port("teller"), "/")["word"] == "hello"
        assert key(TELLER_KEY="in the environment") == "in the environment"
    assert key() == made
    teller.green("stack.clean", "--yes")
    assert key() != made


@pytest.mark.parametrize(
    ("arguments", "env", "code", "says"),
    [
        (["stack.up", "--service", "bogus"], {}, 3, "there is no service 'bogus'"),
        (["stack.up"], {"STRATA_SERVERS": "url"}, 3, "TEST_DATABASE_URL is not set"),
        (["stack.wait", "--service", "teller"], {}, 2, "stack.up --service teller"),
        (["stack.clean"], {}, 3, "pass --yes"),
    ],
)
def test_a_refused_stack_action_has_the_expected_code_and_reason(
    arguments: list[str], env: dict[str, str], code: int, says: str, stack: Stack
) -> None:
    outcome = stack.invoke(*arguments, **env)
    assert outcome.code == code, outcome.output
    assert says in outcome.output


def test_two_stacks_run_at_once_and_conflict_only_over_a_port(
    teller: Stack, tmp_path: Path
) -> None:
    only = ("--service", "teller")
    other = checkout(teller, tmp_path, f"stack-{secrets.token_hex(4)}")
    other.move("teller", free_port())
    teller.green("stack.up", *only)
    other.green("stack.up", *only)
    assert answers(teller.port("teller"), "/")
    assert answers(other.port("teller"), "/")
    other.green("stack.down")
    assert answers(teller.port("teller"), "/")
    other.move("teller", teller.port("teller"))
    outcome = other.invoke("stack.up", *only)
    assert outcome.code == 2, outcome.output
    assert f"in {teller.path})" in outcome.output
    shutil.rmtree(other.cache)
    shutil.rmtree(other.data)


def test_a_second_checkout_runs_its_own_stack_beside_that_of_the_first(
    teller: Stack, tmp_path: Path
) -> None:
    two_checkouts_run_at_once(teller, checkout(teller, tmp_path), "teller")


@needs_images
def test_two_checkouts_run_at_once_through_compose(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = checkout(stack, tmp_path)
    for each in (stack, other):
        monkeypatch.setattr(each, "source", "docker")
    two_checkouts_run_at_once(stack, other, "gateway")


def two_checkouts_run_at_once(first: Stack, other: Stack, service: str) -> None:
    """Run one service in two checkouts: each on its own port, shown and remembered."""
    only, path = ("--service", service), "/" if service == "teller" else "/health/live"
    name, own = f"{service.upper()}_PORT", first.port(service)
    first.green("stack.up", *only)
    said = other.green("stack.up", *only)
    assert f"{service}: the checkout in {first.path} has the port {own}, so here it is " in said
    (free,) = re.findall(rf"so here it is (\d+) \({name} in \.env\)", said)
    assert f"http://127.0.0.1:{free}" in said
    _, states = other.states()
    assert states[service]["url"] == f"http://127.0.0.1:{free}"
    assert f"\n{name}='{free}'\n" in (other.path / ".env").read_text(encoding="utf-8")
    assert f"\nport = {own}\n" in other.manifest(service).read_text(encoding="utf-8")
    assert f"{name}=" not in (first.path / ".env").read_text(encoding="utf-8")
    assert answers(own, path)
    assert answers(int(free), path)
    assert "nothing has changed" in other.green("stack.up", *only)
    other.green("stack.down")
    assert answers(own, path)
    # It keeps its port, whether the other is up or not.
    first.green("stack.down")
    _, states = other.states("stack.up", *only)
    assert states[service]["url"] == f"http://127.0.0.1:{free}"
    first.green("stack.up", *only)
    assert answers(own, path)
    other.green("stack.clean", "--yes")
    assert not answers(int(free), path)
    assert answers(own, path)
    first.green("stack.clean", "--yes")


def test_two_checkouts_that_start_at_once_get_different_ports(
    teller: Stack, tmp_path: Path
) -> None:
    command = (".venv/bin/invoke", "stack.up", "--service", "teller", "--json")
    both = [teller, checkout(teller, tmp_path)]
    started = [
        subprocess.Popen(
            command,
            cwd=each.path,
            env={**each.environment, "STRATA_SERVERS": "embedded"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for each in both
    ]
    printed = [each.communicate(timeout=PATIENCE) for each in started]
    assert [each.returncode for each in started] == [0, 0], printed
    urls = [json.loads(out)["services"][0]["url"] for out, _ in printed]
    assert len(set(urls)) == 2
    both[1].green("stack.clean", "--yes")


def test_service_run_takes_another_port_if_another_checkout_uses_it(
    teller: Stack, tmp_path: Path
) -> None:
    other = checkout(teller, tmp_path)
    with teller.foreground("teller"):
        until(lambda: answers(teller.port("teller"), "/"))
        with other.foreground("teller") as second:
            assert second.stdout
            said = second.stdout.readline()
            assert f"has the port {teller.port('teller')}, so here it is" in said
            port = int(said.partition("so here it is ")[2].partition(" ")[0])
            until(lambda: answers(port, "/"))
            second.terminate()
    other.green("stack.clean", "--yes")


def test_a_port_in_dotenv_overrides_the_committed_one(teller: Stack) -> None:
    only, free = ("--service", "teller"), free_port()
    teller.green("stack.up", *only)
    with Changes(teller) as changes:
        changes.write(".env", f"TELLER_PORT={free}\n")
        _, states = teller.states("stack.up", *only)
        assert states["teller"]["url"] == f"http://127.0.0.1:{free}"
        assert not answers(teller.port("teller"), "/")
        changes.write(".env", "TELLER_PORT=lots\n")
        outcome = teller.invoke("stack.up", *only)
        assert outcome.code == 3, outcome.output
        assert "TELLER_PORT is 'lots', and has to be a number" in outcome.output


def test_stack_up_restarts_a_service_whose_settings_have_changed(teller: Stack) -> None:
    up = ("stack.up", "--service", "teller")
    teller.green(*up)
    with Changes(teller) as changes:
        changes.write(".env", "TELLER_WORD=hello\n")
        assert "started teller" in teller.green(*up)
        assert ask(teller.port("teller"), "/")["word"] == "hello"
        assert "nothing has changed" in teller.green(*up)


def a_row_is_seen_by_all_who_use_dev(stack: Stack) -> None:
    """Follow one row from the stack to other users of `dev`, and through actions that pause it."""
    port = stack.port("gateway")
    stack.green("stack.up", "--service", "gateway")
    made = ask(port, ITEMS, {"name": "lamp"})

    shell = (".venv/bin/invoke", "db.shell", "--database", "dev")
    env = {**stack.environment, "STRATA_SERVERS": stack.source}
    done = subprocess.run(
        shell,
        cwd=stack.path,
        env=env,
        input="TABLE items",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{made['id']} \| lamp ", done.stdout)
    told = {each["purpose"]: each for each in json.loads(stack.green("db.status", "--json"))}
    assert told["dev"]["rows"]["items"] == 1
    assert not told["test"]["exists"]

    assert seen_by_hand(stack, made)
    since = stack.states()[1]["gateway"]["since"]
    printed, after = stack.states("db.snapshot", "before")
    assert "pausing gateway, which the stack runs" in printed
    assert (after["gateway"]["state"], after["gateway"]["since"] > since) == ("healthy", True)
    stack.green("db.reset", "--database", "dev", "--yes")
    assert ask(port, ITEMS)["data"] == []
    stack.green("db.restore", "before", "--yes")
    assert ask(port, f"{ITEMS}/{made['id']}") == made
    refused = stack.invoke("db.drop", "--database", "dev")
    assert refused.code == 3, refused.output
    assert "removes items: 1 row" in refused.output
    assert ask(port, f"{ITEMS}/{made['id']}") == made
    stack.green("stack.clean", "--yes")
    stack.gone()


def seen_by_hand(stack: Stack, made: Any) -> bool:
    """Return whether services started by hand, and by F5 in VS Code, see the row."""
    launches = json.loads((stack.path / ".vscode/launch.json").read_text(encoding="utf-8"))
    (pressed,) = [each for each in launches["configurations"] if "package" in str(each)]
    assert pressed["module"] == "${input:package}"
    assert pressed["envFile"] == "${workspaceFolder}/.env"
    tasks = json.loads((stack.path / ".vscode/tasks.json").read_text(encoding="utf-8"))["tasks"]
    (before,) = [each for each in tasks if each["label"] == pressed["preLaunchTask"]]
    stack.green(*before["command"].removeprefix("uv run invoke ").split())
    # The debugger passes on the file's variables; `python -m` reads the file itself.
    lines = (stack.path / ".env").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    handed = {name: value.strip("'") for name, _, value in pairs}
    return all(seen(stack, made, more) for more in ({}, handed))


def seen(stack: Stack, made: Any, more: dict[str, str]) -> bool:
    port = free_port()
    command = (".venv/bin/python", "-m", "gateway")
    env = {**stack.environment, **more, "GATEWAY_PORT": str(port)}
    with subprocess.Popen(
        command, cwd=stack.path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            until(lambda: answers(port, "/health/ready", status="ready"))
            return bool(ask(port, f"{ITEMS}/{made['id']}") == made)
        finally:
            running.terminate()


def test_all_users_of_the_dev_database_see_the_same_row_without_docker(stack: Stack) -> None:
    a_row_is_seen_by_all_who_use_dev(stack)


@needs_images
def test_all_users_of_the_dev_database_see_the_same_row_through_compose(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "source", "docker")
    a_row_is_seen_by_all_who_use_dev(stack)


@needs_images
def test_a_volume_of_another_postgresql_major_is_reported_and_left_unopened(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stack, "source", "docker")
    stack.green("db.setup", "--database", "dev")
    stack.green("stack.down")
    volume = f"{stack.answers['project_slug']}_postgres"

    def mark(major: str) -> None:
        write = f"echo {major} >/data/PG_VERSION"
        run = ("docker", "run", "--rm", "--entrypoint", "sh", "-v", f"{volume}:/data")
        stack.run(*run, "postgres:17-alpine", "-c", write)

    mark("15")
    for action in ("db.setup", "db.status"):
        outcome = stack.invoke(action)
        assert outcome.code == 2, outcome.output
        assert f"Docker's volume {volume} was made by PostgreSQL 15, and" in outcome.output
        assert "PostgreSQL 17 is what runs here: it was not opened" in outcome.output
        assert 'to stay with it: postgres = "15" in [tool.stratakit]' in outcome.output
    # Only one image is available here, so 17 stands in for 15.
    commands = [
        line.partition(": ")[2]
        .replace("postgres:15-", "postgres:17-")
        .replace("~/", f"{tmp_path}/")
        for line in outcome.output.splitlines()
        if "docker run" in line
    ]
    mark("17")
    for command in commands:
        stack.run("sh", "-c", command)
    assert "CREATE TABLE public.items" in (tmp_path / "dev-15.sql").read_text(encoding="utf-8")
    stack.green("db.setup", "--database", "dev")
    stack.green("stack.clean", "--yes")
    stack.run("docker", "volume", "rm", f"{volume}-15")
    assert not stack.left_in_docker()


def checkout(stack: Stack, folder: Path, slug: str | None = None) -> Stack:
    """Copy a project, under another name if one is given; it runs in the same environment."""
    answers = {**stack.answers, **({"project_slug": slug} if slug else {})}
    path = folder / "checkout"
    shutil.copytree(stack.path, path, ignore=shutil.ignore_patterns(".venv", ".nox", "reports"))
    (path / ".venv").symlink_to(stack.path / ".venv")
    table = path / "pyproject.toml"
    name = 'project = "{project_slug}"'
    text = table.read_text(encoding="utf-8")
    changed = text.replace(name.format(**stack.answers), name.format(**answers))
    table.write_text(changed, encoding="utf-8")
    sources = [path / "vendor/stratakit/src", path / "services/teller/src"]
    paths = {"PYTHONPATH": os.pathsep.join(map(str, sources))}
    return Stack(path, answers, {**stack.environment, **paths})
