"""Waiting for a condition instead of sleeping for a fixed time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], *, timeout: float = ..., interval: float = ...
) -> T: ...


@overload
async def eventually(
    condition: Callable[[], T], *, timeout: float = ..., interval: float = ...
) -> T: ...


async def eventually(
    condition: Callable[[], Any], *, timeout: float = 10, interval: float = 0.01
) -> Any:
    """Call `condition` until it holds, and return what it returned.

    It holds if it returns a true value and raises nothing. Exceptions count as "not yet".

    Args:
        condition: a function, or a coroutine function, without arguments.
        timeout: seconds after which the condition counts as failed.
        interval: seconds between two calls.

    Raises:
        AssertionError: the condition did not hold in time; the message has its last result.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            result = condition()
            value = await result if inspect.isawaitable(result) else result
            if value:
                return value
            last = value
        except Exception as error:  # noqa: BLE001 - it may succeed later
            last = error
        if time.monotonic() > deadline:
            cause = last if isinstance(last, Exception) else None
            raise AssertionError(f"did not hold within {timeout:g} s; last: {last!r}") from cause
        await asyncio.sleep(interval)  # Poll: the condition may depend on another process.
