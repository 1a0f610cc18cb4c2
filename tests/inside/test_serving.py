"""A service under test is asked itself whether it is ready."""

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
