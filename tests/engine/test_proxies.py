"""Connections to servers on this machine, without the proxy of the user's network."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import proxy_bypass_environment, urlopen

import pytest

from stratakit.environment import LOOPBACK, no_proxy, variables


class Handler(BaseHTTPRequestHandler):
    """Handler that sends an empty response."""

    def do_GET(self) -> None:
        """Respond with no content."""
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_server_on_this_machine_is_reached_without_the_proxy(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing listens on this port.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    # Nox sets these for every command of a tier, not only for pytest.
    given = variables(Path("of a tier"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, str(given[name]))
    with urlopen(f"http://127.0.0.1:{port}") as answer:
        assert answer.status == 204


@pytest.mark.parametrize("given", ["", "example.org", "localhost,example.org"])
def test_the_users_proxy_exceptions_are_kept_beside_the_loopback_hosts(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", given)
    monkeypatch.delenv("NO_PROXY", raising=False)
    found = no_proxy()
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    for host in (*LOOPBACK, *filter(None, given.split(","))):
        assert proxy_bypass_environment(host)
    assert not proxy_bypass_environment("example.net")
    assert no_proxy() == found
    assert found["no_proxy"] == found["NO_PROXY"]
    assert found["no_proxy"].split(",").count("localhost") == 1
