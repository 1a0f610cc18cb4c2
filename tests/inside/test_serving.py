"""A service under test: asked itself whether it is ready, and held to a good end."""

import signal
from pathlib import Path

import pytest
from ops.testing import serving

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
