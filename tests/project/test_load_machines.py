"""Load tests with requests from several processes, as from several machines."""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from baking import Bakery
from kubernetes_validate.utils import validate
from project import Changes, Project, free_port, ready

pytestmark = pytest.mark.proof(of="outcomes")

SCENARIO = """
import os
from locust import FastHttpUser, constant, task

class Client(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def ask(self):
        self.client.get("/", headers={"From": str(os.getpid())})
"""
LOCUSTFILE = "services/gateway/tests/load/locustfile.py"
WORKERS = 2


class Counting(BaseHTTPRequestHandler):
    """Counts requests by sender."""

    protocol_version = "HTTP/1.1"
    seen: Counter[str] = Counter()  # noqa: RUF012 - shared by all requests

    def do_GET(self) -> None:
        """Count the request, and return no content."""
        # Without the header it is the master's check that the server responds.
        if who := self.headers["From"]:
            self.seen[who] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyrefly: ignore[bad-override]
        """Print nothing."""


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return ready(bake, tmp_path_factory.mktemp("machines"), "Acme Machines")


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    with Changes(project) as changes:
        yield changes


@pytest.fixture
def url() -> Iterator[str]:
    """URL of a server that counts requests."""
    Counting.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def judged(project: Project, url: str, folder: Path) -> tuple[int, str]:
    """Run a load test with workers; return the master's exit code and output."""
    port = free_port()
    work = ("invoke", "load.worker", "gateway", "--master", "127.0.0.1", "--port", str(port))
    with ExitStack() as stack:
        for _ in range(WORKERS):
            worker = subprocess.Popen(
                ("uv", "run", *work),
                cwd=project.path,
                env={**project.environment, "TMPDIR": str(folder)},
            )
            stack.enter_context(worker)
            stack.callback(worker.terminate)
        options = f"-u 4 -r 4 -t 4s --rate 40 --master-bind-port {port}"
        done = project.run(
            *("uv", "run", "invoke", "load.master", "gateway", "--host", url),
            *("--workers", str(WORKERS), "--options", options),
            check=False,
        )
    return done.returncode, done.stdout + done.stderr


def test_the_load_master_judges_the_requests_of_all_its_workers(
    project: Project, changes: Changes, url: str, tmp_path: Path
) -> None:
    changes.write(LOCUSTFILE, SCENARIO)
    changes.replace("services/gateway/pyproject.toml", '">20"', '">1000000"')
    for _ in range(3):
        Counting.seen.clear()
        code, said = judged(project, url, tmp_path)
        # On a busy machine a run says nothing, as it says itself.
        if "generator-limited" not in said:
            break
    assert code == 1, said
    assert "requests_per_second is " in said
    left = json.loads((project.path / "reports/load/gateway/load.json").read_text())
    closed, arriving = left["phases"]
    # 4 users with a request every 50 ms, if responses are immediate.
    assert 40 < closed["requests_per_second"] <= 80
    assert arriving["requests_per_second"] == pytest.approx(40, rel=0.3)
    assert (closed["errors"], arriving["errors"]) == (0, 0)
    # Each phase has its own worker processes, and each of them has sent its share.
    assert len(Counting.seen) == 2 * WORKERS
    assert min(Counting.seen.values()) > 0.3 * max(Counting.seen.values())
    assert closed["requests"] + arriving["requests"] <= sum(Counting.seen.values())
    assert [*tmp_path.glob("strata-load-*")] == []


@pytest.mark.parametrize("options", ["", "-u 100 -t 60s --tags 'a: \"b\"'"])
def test_the_kubernetes_manifest_of_a_load_test_is_valid(project: Project, options: str) -> None:
    done = project.run(
        *("uv", "run", "invoke", "load.manifest", "gateway", "--image", "registry.example.org/a:1"),
        *("--host", "http://gateway:8000", "--workers", "3", f"--options={options}"),
    )
    service, master, workers = yaml.safe_load_all(done.stdout)
    for each in (service, master, workers):
        validate(each, "1.30", strict=True)
    (leading,) = master["spec"]["template"]["spec"]["containers"]
    assert leading["args"][-1] == options
    assert workers["spec"]["parallelism"] == 3
    (working,) = workers["spec"]["template"]["spec"]["containers"]
    assert working["args"] == ["--master", service["metadata"]["name"]]
    assert service["spec"]["selector"] == master["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("load.master", "gateway", "--host", "http://x.example"), "not on the project's list"),
        (("load.master", "gatewy", "--host", "http://127.0.0.1"), "did you mean gateway?"),
        (("load.master", "gateway", "--host", "x", "--options", "'"), "No closing quotation"),
        (("load.worker", "gatewy", "--master", "x"), "did you mean gateway?"),
        (
            ("load.manifest", "gateway", "--image", "a", "--host", "b", "--workers", "0"),
            "0 is not a number of workers",
        ),
    ],
)
def test_invalid_arguments_of_load_actions_are_refused(
    words: tuple[str, ...], says: str, project: Project
) -> None:
    done = project.run("uv", "run", "invoke", *words, check=False)
    assert (done.returncode, says in done.stdout + done.stderr) == (3, True), done.stderr
