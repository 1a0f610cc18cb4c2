"""Whether the client is still there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from starlette.requests import ClientDisconnect
from starlette.types import Receive


@asynccontextmanager
async def connected(receive: Receive) -> AsyncIterator[None]:
    """Cancel the block, and raise ClientDisconnect, as soon as the client has left."""
    task = cast("asyncio.Task[None]", asyncio.current_task())
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        # The process may be stopping as well.
        if left and not task.uncancel():
            raise ClientDisconnect from None
        raise
    finally:
        watching.cancel()
