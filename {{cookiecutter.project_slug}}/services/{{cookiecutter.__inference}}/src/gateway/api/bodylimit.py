"""No body is larger than what the process can keep for each of many requests at once."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failures import CONTENT_TOO_LARGE

BYTES = 4 * 2**20


class BodyLimit:
    """ASGI middleware. Refuses a body while it comes, so that nothing has to say how long it is.

    Starlette's own answers by itself, in another shape than all other errors have.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        left = BYTES

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(CONTENT_TOO_LARGE, f"the body is larger than {BYTES} bytes")
            return message

        await self._app(scope, limited, send)
