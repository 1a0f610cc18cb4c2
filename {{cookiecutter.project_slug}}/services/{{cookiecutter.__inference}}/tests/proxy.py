"""TCP proxy in front of a server, with faults that a test can inject."""

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from typing import Self

import sqlalchemy as sa

CHUNK = 65_536


class Proxy:
    """Forwarder of bytes between TCP clients and the server of a URL.

    It supports URLs of PostgreSQL and Redis, with TCP and Unix sockets. Use it as a context
    manager, in which `url` is the URL through the proxy.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = sa.make_url(upstream)
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._connections: set[asyncio.Task[None]] = set()
        self.url = ""
        self.sent: list[bytes] = []
        """Bytes sent to the server, one item for each read from a client."""

    def count(self, words: bytes) -> int:
        """Return how often clients sent this; the server's statistics count other clients, too."""
        return b"".join(self.sent).count(words)

    async def cut(self) -> None:
        """Reset all connections, also new ones, as if the server were down."""
        self._refusing = True
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def partition(self) -> None:
        """Hold back all bytes without an error, as if a cable were unplugged."""
        self._open.clear()

    async def heal(self) -> None:
        """Accept connections again, and forward the bytes that were held back."""
        self._refusing = False
        self._open.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = self._through(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.cut()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            # Broken connections are expected, and asyncio's streams log them up to Python 3.11.
            with suppress(OSError, asyncio.CancelledError):
                if not self._refusing:
                    up_reader, up_writer = await self._connect()
                    await asyncio.gather(
                        self._pump(reader, up_writer, self.sent),
                        self._pump(up_reader, writer, []),
                    )
        finally:
            self._connections.remove(task)
            writer.transport.abort()

    async def _pump(self, reader: StreamReader, writer: StreamWriter, sent: list[bytes]) -> None:
        """Forward bytes in one direction until they end, which ends the other direction, too."""
        try:
            while data := await reader.read(CHUNK):
                await self._open.wait()
                sent.append(data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        url = self._upstream
        if url.drivername == "unix":
            return await asyncio.open_unix_connection(f"/{url.database}")
        if folder := url.query.get("host"):
            path = f"{folder}/.s.PGSQL.{url.query.get('port', 5432)}"
            return await asyncio.open_unix_connection(path)
        default = 6379 if url.drivername == "redis" else 5432
        return await asyncio.open_connection(url.host, url.port or default)

    def _through(self, port: int) -> str:
        url = self._upstream.set(host="127.0.0.1", port=port)
        if url.drivername == "unix":
            # The path of a Unix URL is the socket; in other URLs it is the database.
            url = url.set(drivername="redis", database="")
        here = url.difference_update_query(["host", "port"])
        return here.render_as_string(hide_password=False)
