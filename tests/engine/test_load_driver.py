"""Phases of load tests, with Locust in processes of its own, against a server in one of its own."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from stratakit.errors import Code, StrataError
from stratakit.load import SCENARIO as PLACE
from stratakit.load import driver, stats
from stratakit.load.driver import PhaseRun
from stratakit.load.samples import Samples
from stratakit.load.target import Target
from stratakit.programs import free_port
from stratakit.servers.waiting import until

from .answering import GAP, TOKENS

SERVER = Path(__file__).with_name("answering.py")
SCENARIO = """
from locust import FastHttpUser, HttpUser, constant, task
from stratakit.load import streaming

class Client({base}):
{body}
"""
ASKS = """
    @task
    def ask(self):
        self.client.get("{path}")
"""
Run = Callable[..., PhaseRun]


@dataclass(frozen=True)
class Answering:
    """The running server."""

    process: "subprocess.Popen[bytes]"
    port: int

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def seen_elsewhere(self) -> int:
        """Return the number of requests that came by another name of this machine."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        with closing(connection):
            connection.request("GET", "/seen")
            return int(connection.getresponse().read())


@pytest.fixture(scope="module")
def server() -> Iterator[Answering]:
    """A server in a process of its own."""
    port = free_port()
    with subprocess.Popen((sys.executable, SERVER, str(port))) as process:
        server = Answering(process, port)
        until(server.seen_elsewhere, 30)
        yield server
        process.kill()


@pytest.fixture
def run(server: Answering, tmp_path: Path) -> Run:
    """Run a phase of a scenario, given as its body or as the path that it requests."""

    def run(scenario: str, *extra: str, base: str = "FastHttpUser", **options: Any) -> PhaseRun:
        file = tmp_path / PLACE
        file.parent.mkdir(parents=True)
        body = ASKS.format(path=scenario) if scenario.startswith("/") else scenario
        file.write_text(SCENARIO.format(base=base, body=body), encoding="utf-8")
        usual = {"users": 2, "spawn_rate": 2, "seconds": 1, "rate": None}
        folder = tmp_path / "phase"
        return driver.run_phase(
            tmp_path, Target(server.url), **{**usual, **options}, extra=extra, folder=folder
        )

    return run


def test_each_request_is_one_sample_and_errors_carry_their_status(run: Run) -> None:
    done = run(
        """
    wait_time = constant(0.01)

    @task
    def ask(self):
        self.client.get("/ok")
        self.client.get("/fail", name="the other")
"""
    )
    found = Counter((name, timed, error) for _, _, name, timed, error in done.samples)
    assert {*found} == {
        ("GET /ok", "request", None),
        ("GET the other", "request", "status 500"),
    }
    assert abs(found["GET /ok", "request", None] - done.tasks) <= 2
    assert all(0 <= started < 1 and latency > 0 for started, latency, *_ in done.samples)
    assert done.generator.cpu > 0


def test_samples_of_all_processes_are_merged(run: Run, tmp_path: Path) -> None:
    waits = f"    wait_time = constant(0.01)\n{ASKS.format(path='/ok')}"
    done = run(waits, "--processes", "2", users=4, spawn_rate=4)
    counts = [len(Samples.load([file])) for file in tmp_path.glob("phase/*.samples")]
    assert len(counts) == 2
    assert all(counts)
    assert sum(counts) == len(done.samples) <= 4 * 100


def test_arrivals_of_two_processes_together_keep_the_requested_rate(run: Run) -> None:
    done = run("/ok", "--processes", "2", rate=100, seconds=4)
    # Four standard deviations of a Poisson process around its mean.
    assert 400 - 80 < len(done.samples) < 400 + 80
    assert done.tasks == len(done.samples)


def test_latencies_include_the_wait_of_requests_that_arrive_at_a_frozen_server(
    run: Run, server: Answering
) -> None:
    times: list[float] = []

    def freeze() -> None:
        times.append(time.time())
        server.process.send_signal(signal.SIGSTOP)

    def thaw() -> None:
        times.append(time.time())
        server.process.send_signal(signal.SIGCONT)
        # Answered after the requests that have piled up, which takes a busy machine a moment.
        server.seen_elsewhere()
        times.append(time.time())

    # Freeze it for a second, in the middle of the 20 that count.
    timers = [threading.Timer(at, do) for at, do in ((14.0, freeze), (15.0, thaw))]
    for timer in timers:
        timer.start()
    done = run("/ok", rate=100, seconds=20)
    frozen, thawed, caught_up = (each - done.began for each in times)

    def wait_until(end: float) -> float:
        """Return the 99th percentile in ms if what arrived at the frozen server waited until then."""
        arrivals = (started for started, *_ in done.samples)
        waits = ((end - at) * 1000 if frozen < at < thawed else 0 for at in arrivals)
        return stats.percentile(sorted(waits), 0.99)

    measured = stats.percentile(sorted(latency for _, latency, *_ in done.samples), 0.99)
    assert wait_until(thawed) > 500
    assert 0.95 * wait_until(thawed) < measured < 1.05 * wait_until(caught_up)
    assert not any(error for *_, error in done.samples)


def test_streams_are_timed_to_each_token_and_to_their_end(run: Run) -> None:
    body = '    @task\n    def ask(self):\n        assert streaming.post(self.client, "/stream", json={}) == " 0 1 2 3 4"\n'
    done = run(body)
    times: dict[str, list[float]] = {}
    for _, latency, name, timed, error in done.samples:
        assert (name, error) == ("POST /stream", None)
        times.setdefault(timed, []).append(latency)
    assert len(times["itl"]) == (TOKENS - 1) * len(times["ttft"])
    gap = GAP * 1000
    assert gap * 0.9 < median(times["ttft"]) < gap * 2
    assert gap * 0.9 < median(times["itl"]) < gap * 2
    assert gap * TOKENS * 0.9 < median(times["request"]) < gap * TOKENS * 2


@pytest.mark.parametrize(
    ("path", "why"),
    [("/cut", "the stream ended without [DONE]"), ("/broken", "the stream broke off")],
)
def test_a_stream_that_breaks_off_or_lacks_its_end_marker_is_an_error(
    run: Run, path: str, why: str
) -> None:
    done = run(f'    @task\n    def ask(self):\n        streaming.post(self.client, "{path}")\n')
    errors = [error for _, _, _, timed, error in done.samples if timed == "request"]
    assert errors
    assert all(error and error.startswith(why) for error in errors)


@pytest.mark.parametrize("base", ["FastHttpUser", "HttpUser"])
def test_a_redirect_on_the_same_host_is_followed(run: Run, base: str) -> None:
    done = run(f"    wait_time = constant(0.01)\n{ASKS.format(path='/near')}", base=base)
    assert {error for *_, error in done.samples} == {None}


@pytest.mark.parametrize("base", ["FastHttpUser", "HttpUser"])
def test_a_redirect_to_another_host_ends_the_run_and_is_not_followed(
    run: Run, server: Answering, base: str
) -> None:
    with pytest.raises(StrataError, match="/away redirects to http://localhost") as caught:
        run("/away", base=base, seconds=30)
    assert caught.value.code == Code.CONFIGURATION
    assert server.seen_elsewhere() == 0


def test_a_run_with_fewer_users_than_processes_works(run: Run) -> None:
    waits = f"    wait_time = constant(0.01)\n{ASKS.format(path='/ok')}"
    assert len(run(waits, "--processes", "2", users=1, spawn_rate=1).samples) > 30


def test_a_killed_worker_process_is_an_infrastructure_error(run: Run) -> None:
    body = f"""
    wait_time = constant(0.01)
{ASKS.format(path="/ok")}
        if self.environment.runner.worker_index == 1:
            __import__("os").kill(__import__("os").getpid(), 9)
"""
    with pytest.raises(StrataError, match="1 of 2 processes") as caught:
        run(body, "--processes", "2", users=4, spawn_rate=4)
    assert caught.value.code == Code.INFRASTRUCTURE


BUG = '    @task\n    def ask(self):\n        self.client.get("/ok")\n        {}["id"]\n'


@pytest.mark.parametrize(
    ("body", "extra", "rate", "code", "says"),
    [
        (BUG, (), None, Code.FAILED, r"KeyError: 'id' \(locustfile.py:9\)"),
        (BUG, (), 20, Code.FAILED, r"KeyError: 'id' \(locustfile.py:9\)"),
        ("    this is no Python\n", (), None, Code.FAILED, "cannot be run(.|\n)*SyntaxError"),
        (
            "    @task\n    def ask(self): ...\n",
            (),
            None,
            Code.INFRASTRUCTURE,
            "no request was made",
        ),
        (ASKS.format(path="/ok"), ("--sweeep",), None, Code.CONFIGURATION, "arguments: --sweeep"),
        (ASKS.format(path="/ok"), ("Nobody",), None, Code.FAILED, r"Unknown User\(s\): Nobody"),
    ],
    ids=[
        "a bug",
        "a bug at a fixed rate",
        "no Python",
        "no request",
        "an unknown option",
        "an unknown user",
    ],
)
def test_a_faulty_scenario_or_option_ends_the_run_with_a_message_and_a_code(
    run: Run, body: str, extra: tuple[str, ...], rate: float | None, code: Code, says: str
) -> None:
    with pytest.raises(StrataError, match=says) as caught:
        run(body, *extra, rate=rate)
    assert caught.value.code == code


def test_child_processes_end_when_their_run_is_killed(server: Answering, tmp_path: Path) -> None:
    file = tmp_path / PLACE
    file.parent.mkdir(parents=True)
    file.write_text(
        SCENARIO.format(base="FastHttpUser", body=ASKS.format(path="/ok")), encoding="utf-8"
    )
    code = (
        "from pathlib import Path\n"
        "from stratakit.load import driver\n"
        "from stratakit.load.target import Target\n"
        f"driver.run_phase(Path({str(tmp_path)!r}), Target({server.url!r}), users=2, spawn_rate=2,"
        " seconds=300, rate=None, extra=['--processes', '2'],"
        f" folder=Path({str(tmp_path / 'phase')!r}))\n"
    )
    with subprocess.Popen((sys.executable, "-c", code)) as running:
        started: list[psutil.Process] = []

        def look() -> None:
            started[:] = psutil.Process(running.pid).children(recursive=True)
            assert len(started) == 3

        until(look, 60)
        os.kill(running.pid, signal.SIGKILL)
    psutil.wait_procs(started, 30)
    assert not [each for each in started if each.is_running()]
