"""Leaks that a soak finds, and growth that only looks like one for a while."""

import http.client
import math
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from stratakit.errors import ConfigurationError
from stratakit.load import soak

SERVER = """
import os, socket, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

kept, leak = [], sys.argv[1]

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if leak == "memory_mb":
            kept.append(bytearray(200_000))
        elif leak == "descriptors":
            kept.append(os.open(os.devnull, os.O_RDONLY))
        elif leak == "connections":
            kept.append(socket.create_connection(self.server.server_address))
        # What every service does: it takes memory, and gives it back.
        body = b"x" * 50_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
server.socket.listen(1000)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SERVER!r}, sys.argv[1]])"
"""The same server, as a worker of a process that does nothing itself."""
LOOKS = 40
REQUESTS = 4
"""Number of requests between two samples."""


@contextmanager
def running(leak: str, program: str = SERVER) -> Iterator[tuple[int, http.client.HTTPConnection]]:
    command = (sys.executable, "-c", program, leak)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        connection = http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()))
        try:
            yield process.pid, connection
        finally:
            connection.close()
            for each in soak.psutil.Process(process.pid).children():
                each.kill()
            process.kill()


def soaked(leak: str, program: str = SERVER) -> dict[str, bool]:
    """Return whether each watched value passes; each sample stands for a second."""
    with running(leak, program) as (pid, connection):
        watch = soak.Watch({"shop": pid})
        for second in range(LOOKS):
            for _ in range(REQUESTS):
                connection.request("GET", "/")
                assert len(connection.getresponse().read()) == 50_000
            watch.sample(second)
    result = watch.result(LOOKS)
    assert set(result["series"]) == {f"shop: {what}" for what in soak.WATCHED}
    return {each["what"]: each["passed"] for each in result["slopes"]}


@pytest.mark.parametrize("program", [SERVER, PARENT], ids=["the process", "a worker of it"])
@pytest.mark.parametrize(
    ("leak", "found"),
    [
        ("memory_mb", {"memory_mb"}),
        ("descriptors", {"descriptors"}),
        # An open connection is a descriptor as well.
        ("connections", {"connections", "descriptors"}),
    ],
)
def test_a_leak_of_each_kind_is_found(leak: str, found: set[str], program: str) -> None:
    assert {what for what, passed in soaked(leak, program).items() if not passed} == found


@pytest.mark.parametrize("time", range(10))
def test_a_service_without_a_leak_passes_every_time(time: int) -> None:
    assert soaked("none") == dict.fromkeys(soak.WATCHED, True)


def series(shape: Callable[[float], float], noise: float, seed: int) -> list[tuple[float, float]]:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    return [(at, shape(at) + chance.gauss(0, noise)) for at in range(600)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("shape", "passed"),
    [
        # 400 s of the 10 minutes are judged, and may gain 8 MB in total: 0.02 MB a second.
        pytest.param(lambda at: 100 + at / 1000, True, id="slow growth"),
        pytest.param(lambda at: 100 + at / 20, False, id="a leak"),
        pytest.param(lambda at: 100.0, True, id="level"),
        pytest.param(lambda at: 100 + 50 * (1 - math.exp(-at / 60)), True, id="warm-up"),
        pytest.param(lambda at: 100 + 20 * (at > 350), True, id="one step"),
        pytest.param(lambda at: 100 + at % 60, True, id="a sawtooth"),
        pytest.param(lambda at: 100 + at % 60 + at / 4, False, id="a leak in a sawtooth"),
        pytest.param(lambda at: 100 + 500 * (at % 97 == 0), True, id="outliers"),
        pytest.param(lambda at: 300 - at / 5, True, id="shrinking"),
    ],
)
def test_steady_growth_beyond_the_limit_fails_and_other_shapes_pass(
    shape: Callable[[float], float], passed: bool, seed: int
) -> None:
    assert soak.judge(series(shape, 3, seed), 8)["passed"] is passed


def test_slope_and_limit_are_given_per_hour() -> None:
    found = soak.judge(series(lambda at: 100 + at / 10, 0, 0), 8)
    assert found["per_hour"] == pytest.approx(360, rel=0.01)
    assert found["limit"] == pytest.approx(8 / 400 * 3600, rel=0.01)


def test_the_leak_message_names_the_process_the_resource_and_the_growth() -> None:
    slope = {"process": "shop", "what": "memory_mb", "per_hour": 360.0, "limit": 72.0}
    assert soak.message({**slope, "passed": True}) is None
    assert soak.message({**slope, "passed": False}) == (
        "shop leaks: it gains 360 MB of memory an hour, at most 72 are noise"
    )


def test_sampling_an_ended_process_raises_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    watch = soak.Watch({"shop": process.pid})
    watch.sample(1)
    assert watch.result(60)["slopes"] == []


def test_processes_are_sampled_while_a_run_lasts() -> None:
    with running("none") as (pid, _), soak.watching({"shop": pid}, 60) as watch:
        looked = soak.threading.Event()
        sample = watch.sample

        def noting(at: float) -> None:
            sample(at)
            looked.set()

        watch.sample = noting  # to learn of a sample
        assert looked.wait(30)
    assert len(watch.series["shop", "descriptors"]) >= 1


def test_a_soak_that_is_too_short_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="too short"), soak.watching({}, 29):
        pass
