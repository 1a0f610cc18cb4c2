"""Waiting for a server to be ready."""

import time
from collections.abc import Callable


def until(
    attempt: Callable[[], object],
    timeout: float,
    *,
    unless: type[Exception] | tuple[()] = (),
    interval: float = 0.005,
) -> None:
    """Call `attempt` until it raises nothing.

    Args:
        attempt: whatever fails as long as the thing is not ready.
        timeout: seconds after which to give up.
        unless: an error that means that it will never be ready; passed on at once.
        interval: seconds between two attempts.

    Raises:
        TimeoutError: it still failed; the message holds the last failure.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            attempt()
        except unless:
            raise
        except Exception as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready after {timeout:g} s: {error}") from error
            time.sleep(interval)  # Between two looks: nobody tells a client that a server is up.
        else:
            return
