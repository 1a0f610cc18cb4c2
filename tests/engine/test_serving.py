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
STOPS = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"


async def test_a_proxy_of_the_environment_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    (tmp_path / "ready.py").write_text(STOPS + READY)
    with serving("ready", {}, prefix="READY_", folder=tmp_path) as service:
        await service.ready()


def test_one_that_is_not_up_yet_may_end_by_the_signal(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import threading; threading.Event().wait()")
    with serving("slow", {}, prefix="SLOW_", folder=tmp_path) as service:
        pass
    assert service.process.returncode == -signal.SIGTERM


async def test_one_that_was_up_may_not(tmp_path: Path) -> None:
    (tmp_path / "ready.py").write_text(READY)
    with (
        pytest.raises(AssertionError, match="ready ended with -15"),
        serving("ready", {}, prefix="READY_", folder=tmp_path) as service,
    ):
        await service.ready()


def test_one_that_ends_by_itself_is_told_of_with_what_it_said(tmp_path: Path) -> None:
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
HELD = """
import os, pathlib, signal
from stratakit.testing import serving

def test_it():
    with serving("stubborn", {}, prefix="STUBBORN_", folder=pathlib.Path.cwd()):
        pathlib.Path("tester").write_text(str(os.getpid()))
        signal.pause()
"""
KILLED = {
    "pytest": ((), "itself"),
    "the worker": (("-n", "1", "--max-worker-restart", "0"), "tester"),
    "the controller": (("-n", "1"), "itself"),
}


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Path]:
    """A folder with a test that starts a service and never ends."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    (tmp_path / "test_it.py").write_text(HELD)
    yield tmp_path
    if (tmp_path / "pids").exists():
        for pid in (tmp_path / "pids").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("victim", KILLED)
def test_a_service_ends_with_whoever_started_it_however_that_ends(victim: str, there: Path) -> None:
    options, who = KILLED[victim]
    # Without the plugin, no servers are started.
    command = [sys.executable, "-m", "pytest", "-p", "no:stratakit", "-c", os.devnull, *options]
    with subprocess.Popen(
        [*command, "--rootdir", ".", "test_it.py"], cwd=there, stdout=subprocess.DEVNULL
    ) as run:
        until(lambda: [(there / name).stat() for name in ("pids", "tester")], 60)
        pids = [int(pid) for pid in (there / "pids").read_text().split()]
        assert not any(ended(pid) for pid in pids)
        os.kill(run.pid if who == "itself" else int((there / who).read_text()), signal.SIGKILL)

        def gone() -> None:
            assert all(ended(pid) for pid in pids)

        until(gone, 60)


def test_a_service_is_started_as_python_would_start_its_module(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(
        "import sys; main = sys.modules['__main__']\n"
        "print(__name__, __spec__.name, sys.argv == [__file__], main.__file__ == __file__)"
    )
    with serving("told", {}, prefix="TOLD_", folder=tmp_path) as service:
        service.process.wait(timeout=60)
    assert service.output.read_text() == "__main__ told True True\n"
