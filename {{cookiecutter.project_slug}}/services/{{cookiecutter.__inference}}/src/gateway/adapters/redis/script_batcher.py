"""One round trip for all who ask at the same time.

A round trip costs more of our CPU than all else that a request does with Redis. Those whose
requests came in one turn of the event loop share one; who is alone goes alone. Of 32 requests at
once each takes 0.33 ms of CPU so, and 0.47 ms where each goes alone; were the tokens of each
corrected by a round trip of its own, and not with the next admission, as much again.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError

from .connection import Client, Command, text

Pending = tuple[Command, "asyncio.Future[Any]"]


class ScriptBatcher:
    """A script that is run for many callers at once; each gets its own answer, or its own error."""

    def __init__(self, client: Client, *names: str) -> None:
        self._client = client
        self._text = text(*names)
        self._script = client.register_script(self._text)
        self._pending: list[Pending] = []
        # The event loop alone would let them be collected before they end.
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, keys: Sequence[str], args: Sequence[int | str]) -> Any:
        """Return what the script answers.

        Raises:
            UnavailableError: Redis does not answer.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._pending.append((("EVALSHA", self._script.sha, len(keys), *keys, *args), answer))
        if len(self._pending) == 1:
            loop.call_soon(self._send)
        return await answer

    def _send(self) -> None:
        # A task of its own: the one who asked first may be cancelled, and the others may not.
        task = asyncio.create_task(self._run(self._pending))
        self._pending = []
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, pending: list[Pending]) -> None:
        try:
            answers = await self._client.execute_batch([command for command, _ in pending])
            if any(isinstance(answer, NoScriptError) for answer in answers):
                # A server that was started anew knows no script, so none has run.
                await self._client.script_load(self._text)
                answers = await self._client.execute_batch([command for command, _ in pending])
        except Exception as error:  # noqa: BLE001 - theirs, whatever it is
            answers = [error] * len(pending)
        for (_, future), answer in zip(pending, answers, strict=True):
            if future.done():
                # Its caller was cancelled.
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
