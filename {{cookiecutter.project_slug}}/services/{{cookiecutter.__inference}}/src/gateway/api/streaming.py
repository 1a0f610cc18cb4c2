"""Server-sent events: an answer in pieces."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from .. import errors
from ..completion_service import Admitted
from ..metrics import Metrics
from ..ports import Chunk
from . import error_handlers, json
from .connection import connected

MEDIA_TYPE = "text/event-stream"
DONE = b"data: [DONE]\n\n"

log = structlog.get_logger("streaming")


Encode = Callable[[Chunk], bytes]
"""Makes events of a piece of an answer."""


def event(data: bytes) -> bytes:
    """Return an event; `data` must not hold a line break."""
    return b"data: " + data + b"\n\n"


class EventStream(Response):
    """Sends an answer while it is made, and has it stopped when the client is gone.

    Nothing is sent before there is a first piece, so that an error until then has its status.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self, admitted: Admitted, encode: Encode, metrics: Metrics, headers: Mapping[str, str]
    ) -> None:
        # No proxy is to keep the pieces until they are many.
        super().__init__(
            headers={**headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        del self.headers["Content-Length"]
        self._admitted = admitted
        self._encode = encode
        self._metrics = metrics
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del scope
        self._metrics.streams.inc()
        try:
            async with connected(receive):
                await self._send(send)
        except asyncio.CancelledError:
            if not self._begun:
                raise
            await send(_piece(event(bytes(error_handlers.stopping().body)), more=False))
        finally:
            self._metrics.streams.dec()
            await self._admitted.close()

    async def _send(self, send: Send) -> None:
        async with aclosing(self._admitted.stream()) as chunks:
            first = self._encode(await anext(chunks))
            self._begun = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send(_piece(first))
            await self._rest(chunks, send)

    async def _rest(self, chunks: AsyncIterator[Chunk], send: Send) -> None:
        try:
            async for chunk in chunks:
                await send(_piece(self._encode(chunk)))
        except errors.ServiceError as error:
            # No [DONE]: it says that the answer is whole.
            log.warning("broken off", error=str(error), cause=repr(error.__cause__))
            self._metrics.failures.labels(error_handlers.ERROR_SPECS[type(error)].code).inc()
            last = event(json.encode(error_handlers.body_of(error)))
        else:
            last = DONE
        await send(_piece(last, more=False))


def _piece(content: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}
