"""A Docker engine that responds but has no images: the part of its API that clients need first."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answers = Mapping[str, tuple[int, Any]]

ANSWERS: Answers = {
    "/_ping": (200, "OK"),
    "/version": (200, {"ApiVersion": "1.44", "MinAPIVersion": "1.24", "Version": "27.0"}),
    "/info": (200, {"ServerVersion": "27.0"}),
    "/images/json": (200, []),
    "/images/create": (404, {"message": "pull access denied, or the registry is not reachable"}),
}


class Handler(BaseHTTPRequestHandler):
    """Handler of a fake Docker API, for any version of it."""

    answers = ANSWERS

    def do_GET(self) -> None:
        """Send the response for the end of the path."""
        path = self.path.partition("?")[0]
        status, body = next(
            (answer for end, answer in self.answers.items() if path.endswith(end)),
            (404, {"message": "no such thing"}),
        )
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - http.server calls it

    def log_message(self, *_: object) -> None:  # pyrefly: ignore[bad-override]
        """Print nothing."""


@contextmanager
def without_images(others: Answers = {}) -> Iterator[str]:  # noqa: B006 - never changed
    """Run such an engine, with other answers if given, and yield its DOCKER_HOST."""
    handler = type("Other", (Handler,), {"answers": {**ANSWERS, **others}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()
