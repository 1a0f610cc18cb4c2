"""Clients with minimal overhead, so that the server is measured: bytes in, bytes out."""

import asyncio
import json
from http import HTTPStatus
from typing import Any, cast

import uvloop

CONNECTIONS = 16
WORDS = "as it was said"
STREAMED = 32
"""Number of tokens of a streamed response."""
WHOLE = {"model": "own", "messages": [{"role": "user", "content": WORDS}], "max_tokens": 16}
STREAM = {
    "model": "own",
    "messages": [{"role": "user", "content": " ".join(map(str, range(STREAMED)))}],
    "max_tokens": STREAMED,
    "stream": True,
}


def request(path: str, body: dict[str, Any], key: str = "") -> bytes:
    """Return a POST of `body`."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        f"Authorization: Bearer {key}",
    )
    return "\r\n".join([*head, "", ""]).encode() + content


class Client(asyncio.Protocol):
    """Sends one request repeatedly over one connection, each after the previous response."""

    def __init__(self, payload: bytes, times: int) -> None:
        """Send `payload` the given number of times."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._payload = payload
        self._left = times
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._payload)

    def data_received(self, data: bytes) -> None:
        """Send the next request once the response is complete."""
        self._seen += data
        if not whole(self._seen):
            return
        if not self._seen.startswith(b"HTTP/1.1 %d " % HTTPStatus.OK):
            self._transport.close()
            self.done.set_exception(RuntimeError(self._seen.decode()))
            return
        self._seen = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._payload)
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail if the server has closed the connection."""
        if not self.done.done():
            self.done.set_exception(error or RuntimeError("the server has closed the connection"))


def whole(answer: bytes) -> bool:
    """Return whether a response is complete."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    _, given, length = head.lower().partition(b"\r\ncontent-length: ")
    if given:
        return len(body) >= int(length.partition(b"\r\n")[0])
    return body.endswith(b"0\r\n\r\n")


def load(port: int, payload: bytes, times: int) -> None:
    """Send a request the given number of times, over parallel connections."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        each = times // CONNECTIONS
        made = [
            await loop.create_connection(lambda: Client(payload, each), "127.0.0.1", port)
            for _ in range(CONNECTIONS)
        ]
        await asyncio.gather(*(client.done for _, client in made))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
