"""Responses as server-sent events, and cancellation when the client disconnects."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, TypeVar, cast

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from servicebase.middleware import STOPPING

from .. import errors
from ..completion_service import Admitted
from ..ports import Chunk
from . import error_handlers

MEDIA_TYPE = "text/event-stream"
DONE = b"data: [DONE]\n\n"

T = TypeVar("T")

log = structlog.get_logger("streaming")


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; if the client leaves, cancel it and raise ClientDisconnect."""
    task = cast("asyncio.Task[None]", asyncio.current_task())

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        task.cancel()

    watching: list[asyncio.Task[None]] = []
    # Deferred: work that never waits needs no watching, which would cost as much as the work.
    begin = asyncio.get_running_loop().call_soon(
        lambda: watching.append(asyncio.create_task(watch()))
    )
    try:
        return await work
    except asyncio.CancelledError:
        # If the process is stopping as well, that cancellation has to go on.
        if any(each.done() for each in watching) and not task.uncancel():
            raise ClientDisconnect from None
        raise
    finally:
        begin.cancel()
        for each in watching:
            each.cancel()


def event(data: bytes) -> bytes:
    """Return a server-sent event."""
    return b"data: " + data + b"\n\n"


class EventStream(Response):
    """Response that streams a completion, and cancels it when the client disconnects.

    Nothing is sent before the first chunk, so that an error until then has its own status.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self, admitted: Admitted, encode: Callable[[Chunk], bytes], headers: Mapping[str, str]
    ) -> None:
        # Proxies must not buffer the chunks.
        unbuffered = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(headers={**headers, **unbuffered})
        del self.headers["Content-Length"]
        self._admitted, self._encode = admitted, encode
        self._metrics = admitted.service.metrics
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Serve one request."""
        try:
            with self._metrics.streams.track_inprogress():
                await while_connected(receive, self._send(send))
        except asyncio.CancelledError:
            if not self._begun:
                raise
            stopping = error_handlers.unavailable(STOPPING)
            await send(_part(event(bytes(stopping.body)), more=False))
        finally:
            await self._admitted.close()

    async def _send(self, send: Send) -> None:
        last = DONE
        async with aclosing(self._admitted.stream()) as chunks:
            try:
                async for chunk in chunks:
                    piece = _part(self._encode(chunk))
                    if not self._begun:
                        self._begun = True
                        start = {"type": "http.response.start", "status": 200}
                        await send({**start, "headers": self.raw_headers})
                    await send(piece)
            except errors.ServiceError as error:
                if not self._begun:
                    raise
                # No [DONE], which would mean that the response is complete.
                log.warning("broken off", error=str(error), cause=repr(error.__cause__))
                last = event(bytes(error_handlers.failure(error, self._metrics).body))
            await send(_part(last, more=False))


def _part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
