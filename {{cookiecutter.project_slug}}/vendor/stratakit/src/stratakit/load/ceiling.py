"""Server that does nothing, to measure the maximum of the load generator itself.

It runs as a process of its own: `python -m stratakit.load.ceiling PORT`. The scenario for Locust is
`nothing.py` beside it.
"""

import asyncio
import sys

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class _Nothing(asyncio.Protocol):
    """Protocol that sends the same response to every request once its headers have arrived."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


async def serve(port: int) -> None:
    """Serve until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(_Nothing, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
