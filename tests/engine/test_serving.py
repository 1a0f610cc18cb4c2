"""A service under test: its own readiness counts, it has to end cleanly, and none is left over."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from stratakit.liveness import ended
from stratakit.servers.waiting import until
from stratakit.testing import serving

READY = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()

HTTPServer(("127.0.0.1", int(os.environ["READY_PORT"])), Handler).serve_forever()
"""
ENDS_CLEANLY = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"


async def test_readiness_is_checked_without_the_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    (tmp_path / "ready.py").write_text(ENDS_CLEANLY + READY)
    with serving("ready", {}, prefix="READY_", folder=tmp_path) as service:
        await service.ready()


def test_a_service_that_is_not_ready_yet_may_be_ended_by_sigterm(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import threading; threading.Event().wait()")
    with serving("slow", {}, prefix="SLOW_", folder=tmp_path) as service:
        pass
    assert service.process.returncode == -signal.SIGTERM


async def test_a_service_that_was_ready_fails_the_test_if_sigterm_kills_it(tmp_path: Path) -> None:
    (tmp_path / "ready.py").write_text(READY)
    with (
        pytest.raises(AssertionError, match="ready ended with -15"),
        serving("ready", {}, prefix="READY_", folder=tmp_path) as service,
    ):
        await service.ready()


def test_a_service_that_exits_by_itself_fails_the_test_with_its_output(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('no such setting')")
    with (
        pytest.raises(AssertionError, match="no such setting"),
        serving("broken", {}, prefix="BROKEN_", folder=tmp_path) as service,
    ):
        service.process.wait(timeout=60)


STUBBORN = """
import os, pathlib, signal, subprocess, sys, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
note = pathlib.Path("pids.part")
note.write_text(f"{os.getpid()} {child.pid}")
note.rename("pids")
threading.Event().wait()
"""
TEST_OF_STUBBORN_SERVICE = """
import os, pathlib, signal
from stratakit.testing import serving

def test_it():
    with serving("stubborn", {}, prefix="STUBBORN_", folder=pathlib.Path.cwd()):
        pathlib.Path("tester").write_text(str(os.getpid()))
        signal.pause()
"""
VICTIMS = {
    "pytest": ((), "itself"),
    "the worker": (("-n", "1", "--max-worker-restart", "0"), "tester"),
    "the controller": (("-n", "1"), "itself"),
}


@pytest.fixture
def stubborn(tmp_path: Path) -> Iterator[Path]:
    """A folder with a test that starts a service and never ends."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    (tmp_path / "test_it.py").write_text(TEST_OF_STUBBORN_SERVICE)
    yield tmp_path
    if (tmp_path / "pids").exists():
        for pid in (tmp_path / "pids").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_service_ends_when_pytest_its_worker_or_the_controller_is_killed(
    victim: str, stubborn: Path
) -> None:
    options, who = VICTIMS[victim]
    # Without the plugin, no servers are started.
    command = [sys.executable, "-m", "pytest", "-p", "no:stratakit", "-c", os.devnull, *options]
    with subprocess.Popen(
        [*command, "--rootdir", ".", "test_it.py"], cwd=stubborn, stdout=subprocess.DEVNULL
    ) as run:
        until(lambda: [(stubborn / name).stat() for name in ("pids", "tester")], 60)
        pids = [int(pid) for pid in (stubborn / "pids").read_text().split()]
        assert not any(ended(pid) for pid in pids)
        os.kill(run.pid if who == "itself" else int((stubborn / who).read_text()), signal.SIGKILL)

        def gone() -> None:
            assert all(ended(pid) for pid in pids)

        until(gone, 60)


def test_a_service_runs_as_the_main_module_with_its_own_argv(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(
        "import sys; main = sys.modules['__main__']\n"
        "print(__name__, __spec__.name, sys.argv == [__file__], main.__file__ == __file__)"
    )
    with serving("told", {}, prefix="TOLD_", folder=tmp_path) as service:
        service.process.wait(timeout=60)
    assert service.output.read_text() == "__main__ told True True\n"
