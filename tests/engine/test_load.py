"""Options, targets and results of a load test; its phases are in test_load_driver."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stratakit import project
from stratakit.errors import Code, ConfigurationError, StrataError
from stratakit.load import options, outcome, target
from stratakit.load.samples import Samples
from stratakit.programs import free_port
from stratakit.pyproject import ROOT
from stratakit.tasks.load import code, words

OURS = ("--home", "services/gateway", "--results", "results.json", "--scratch", "scratch")
ROW = (1.0, 20.0, "GET /", "request", None)


def test_locust_options_are_parsed_and_the_rest_is_passed_on() -> None:
    asked, rest = options.parse([*OURS, *"-u 5 -r 2.5 -t 1m30s --processes 2 -T slow Chat".split()])
    assert (asked.users, asked.spawn_rate, asked.run_time) == (5, 2.5, 90)
    assert rest == ["--processes", "2", "-T", "slow", "Chat"]
    usual, _ = options.parse(OURS)
    assert (usual.users, usual.spawn_rate, usual.run_time) == (10, 2, 30)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-u 0", "0 is not a number of users"),
        ("-u many", "many is not a number of users"),
        ("-r -1", "-1 is not a number above 0"),
        ("--rate inf", "inf is not a number above 0"),
        ("-t soon", "soon is not a time"),
        ("-t 0s", "0s is not a time"),
        ("--soak 1m --sweep 1,2,3", "not allowed with"),
        ("--strict", "compares with saved figures, and none are named"),
    ],
)
def test_invalid_values_and_combinations_of_options_are_refused(words: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        options.parse([*OURS, *words.split()])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--baseline never --rate 5", "no run of gateway is saved as never"),
        ("--save ../never", "no run can be saved as"),
    ],
)
def test_a_wrong_name_of_saved_runs_is_refused_before_anything_runs(
    words: str, says: str, tmp_path: Path
) -> None:
    left = tmp_path / "results.json"
    command = (sys.executable, "-m", "stratakit.load", "--home", "services/gateway")
    done = subprocess.run(
        (*command, "--results", left, *words.split()), cwd=ROOT, capture_output=True, check=False
    )
    # A run first prints which servers it uses: no output means that none has begun.
    assert (done.returncode, done.stdout) == (Code.CONFIGURATION, b"")
    assert says in json.loads(left.read_bytes())["reason"]


def test_samples_from_several_files_are_merged_without_those_outside_the_window(
    tmp_path: Path,
) -> None:
    files = [tmp_path / "one", tmp_path / "other"]
    for shift, file in enumerate(files):
        samples = Samples()
        for second in range(5):
            name, error = f"GET /{second + shift}", "oh" if second == shift else None
            samples.add((10.0 + second, 0.5, name, "request", error))
        samples.window(11, 3).save(file)
    both = Samples.load(files)
    assert len(both) == 6
    assert sorted(both, key=str) == sorted(
        [
            *((second - 1.0, 0.5, f"GET /{second}", "request", None) for second in (1, 2, 3)),
            *(
                (second - 1.0, 0.5, f"GET /{second + 1}", "request", "oh" if second == 1 else None)
                for second in (1, 2, 3)
            ),
        ],
        key=str,
    )


class Redirecting(http.server.BaseHTTPRequestHandler):
    """Handler that redirects to the host in the path."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.path.replace("/to/", "http://", 1))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def redirecting() -> Iterator[str]:
    """A server that redirects."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("http://staging.example.org", "not this machine, and not on the project's list"),
        ("https://203.0.113.1:8000", "not this machine, and not on the project's list"),
        ("http://localhost.example.org", "not this machine, and not on the project's list"),
        ("http://127.0.0.1@staging.example.org", "not this machine, and not on the project's list"),
        ("127.0.0.1:8000", "is not the address of a service"),
        ("ftp://127.0.0.1", "is not the address of a service"),
    ],
)
def test_a_host_that_is_malformed_or_not_allowed_is_refused(host: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        target.elsewhere(host, ["example.org", "other.example.org"])


def test_a_host_that_is_not_allowed_gets_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Short for 127.0.0.1, but not a form of it that is allowed without the list.
        short, port = "127.1", listener.getsockname()[1]
        socket.create_connection((short, port)).close()
        listener.accept()[0].close()
        with pytest.raises(ConfigurationError, match="not on the project's list"):
            target.elsewhere(f"http://{short}:{port}", ["127.0.0.1"])
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_host_that_does_not_answer_is_an_infrastructure_error() -> None:
    with pytest.raises(StrataError, match="does not answer") as caught:
        target.elsewhere(f"http://127.0.0.1:{free_port()}", ())
    assert caught.value.code == Code.INFRASTRUCTURE
    # The host is on the allow list, so a connection is tried.
    with pytest.raises(StrataError, match="does not answer") as caught:
        target.elsewhere("http://nowhere.invalid", ["nowhere.invalid"])
    assert caught.value.code == Code.INFRASTRUCTURE


def test_a_redirect_to_the_same_host_is_accepted_and_one_to_another_is_refused(
    redirecting: str,
) -> None:
    assert target.elsewhere(f"{redirecting}/to/127.0.0.1/there", ()).url.endswith("there")
    with pytest.raises(ConfigurationError, match=r"redirects to http://staging\.example\.org"):
        target.elsewhere(f"{redirecting}/to/staging.example.org", ())


SERVICE = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
HTTPServer(("127.0.0.1", int(os.environ["SHOP_PORT"])), Handler).serve_forever()
"""


def test_a_service_with_a_nonzero_exit_code_is_reported_as_a_failure(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SERVICE)
    shop = replace(project.services()[0], name="shop", package="shop")
    with (
        pytest.raises(StrataError, match=r"shop did not shut down cleanly:\n.* with 7") as caught,
        target.run_service(shop, {}, tmp_path),
    ):
        pass
    assert caught.value.code == Code.FAILED


def phase(*, limited: bool = False) -> dict[str, Any]:
    """Return an entry of `phases` with the fields that outcomes use."""
    return {
        "name": "open",
        "kind": "open",
        "users": 10,
        "rate": 70.0,
        "requests": 100,
        "requests_per_second": 69.0,
        "error_rate": 0.5,
        "ttft_ms": None,
        "by_name": [],
        "latency_ms": {"p50": {"value": 1.0}, "p95": {"value": 2.0}, "p99": None},
        "generator": {"late_p99_ms": 80.0, "cpu": 0.2, "limited": limited},
    }


def report(*phases: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a report with the fields that `results` uses."""
    nothing = {"thresholds": [], "sweep": None, "soak": None, "baseline": None}
    return {**nothing, "phases": phases or (phase(),), **more}


def threshold(*, passed: bool, value: float | None = 2.0) -> dict[str, Any]:
    """Return an entry of `thresholds`."""
    bound = {"name": "p95_latency_ms", "bound": "<500", "phase": "open"}
    return {**bound, "value": value, "passed": passed}


def test_a_met_threshold_becomes_a_passed_test_with_its_value() -> None:
    left, code, reason = outcome.results(report(thresholds=[threshold(passed=True)]), strict=False)
    assert (code, reason) == (Code.PASSED, None)
    assert left["tests"] == [
        {
            "name": "p95_latency_ms <500",
            "status": "passed",
            "duration": 0.0,
            "error": None,
            "metrics": {"p95_latency_ms": 2.0},
        }
    ]
    assert left["load_test"] == {
        "requests_per_second": 69.0,
        "p50_latency_ms": 1.0,
        "p95_latency_ms": 2.0,
        "p99_latency_ms": None,
        "error_rate": 0.5,
    }


def test_each_missed_threshold_is_named_in_the_reason() -> None:
    missed = [threshold(passed=False), threshold(passed=False, value=None)]
    left, code, reason = outcome.results(report(thresholds=missed), strict=False)
    assert code == Code.FAILED
    assert reason
    assert reason.startswith("2 missed: p95_latency_ms is 2, <500 wanted (phase open); p95")
    assert [each["status"] for each in left["tests"]] == ["failed"] * 2
    assert left["tests"][1]["metrics"] == {}


def test_a_late_load_generator_is_an_infrastructure_error_and_skips_thresholds() -> None:
    late = report(phase(limited=True), thresholds=[threshold(passed=False)])
    left, code, reason = outcome.results(late, strict=True)
    assert code == Code.INFRASTRUCTURE
    assert reason
    assert "generator-limited: the load generator could not keep up (open: late by 80" in reason
    assert [(each["status"], each["error"]) for each in left["tests"]] == [
        ("skipped", "generator-limited")
    ]


def test_growth_during_a_soak_fails_as_a_leak() -> None:
    slope = {"process": "gateway", "what": "descriptors", "per_hour": 90.0, "limit": 10.0}
    soak = {"seconds": 60, "series": {}, "slopes": [{**slope, "passed": False}]}
    left, code, reason = outcome.results(report(soak=soak), strict=False)
    assert (code, left["tests"][0]["name"]) == (Code.FAILED, "gateway: descriptors")
    assert reason
    assert "gateway leaks: it gains 90 descriptors an hour" in reason


@pytest.mark.parametrize(
    ("what", "now", "beyond", "code"),
    [
        ("closed, 10 users: requests_per_second", 50.0, True, Code.FAILED),
        ("closed, 10 users: requests_per_second", 50.0, False, Code.PASSED),
        ("closed, 10 users: requests_per_second", 200.0, True, Code.PASSED),
        ("open, 10 users: p95 latency_ms", 200.0, True, Code.FAILED),
        ("open, 10 users: p95 latency_ms", 50.0, True, Code.PASSED),
    ],
)
def test_only_a_regression_beyond_the_noise_fails_and_only_in_strict_mode(
    what: str, now: float, code: Code, *, beyond: bool
) -> None:
    change = {"what": what, "before": 100.0, "now": now, "beyond_noise": beyond}
    compared = report(baseline={"name": "main", "changes": [change]})
    assert outcome.results(compared, strict=True)[1] == code
    assert outcome.results(compared, strict=False)[1] == Code.PASSED


def test_a_sweep_has_no_load_test_figures_and_prints_its_knee(
    capsys: pytest.CaptureFixture[str],
) -> None:
    swept = report(sweep={"points": [], "knee": 10}, ceiling={"requests_per_second": 3000.0})
    left, code, _ = outcome.results(swept, strict=False)
    assert (left["load_test"], left["tests"], code) == (None, [], Code.PASSED)
    outcome.show({**swept, "target": "http://127.0.0.1:8000"})
    assert "the knee is at 10 users\n" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "means"), [(2, 2), (3, 3), (130, 1), (-9, 1)])
def test_known_exit_codes_are_kept_and_a_killed_load_test_counts_as_failed(
    status: int, means: int
) -> None:
    assert code(status) == means


def test_options_in_one_string_are_split_as_in_a_shell() -> None:
    assert words("-u 4 --tags 'a b'") == ["-u", "4", "--tags", "a b"]
    with pytest.raises(ConfigurationError, match="cannot be read: No closing quotation"):
        words("-u 4 --tags 'a b")
