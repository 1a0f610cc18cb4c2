"""A line on a terminal that tells what takes long, for as long as it does.

Standard library only, since noxfile.py imports it.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

DELAY = 2.0
"""Seconds that pass before the line appears: what is done sooner needs none."""
_CLEAR = "\r\x1b[2K"


def is_live(stream: TextIO) -> bool:
    """Return whether somebody watches a stream who can be shown a line that changes."""
    return stream.isatty() and not {"CI", "NO_COLOR"} & {*os.environ}


@contextmanager
def progress(what: str, *, delay: float = DELAY, stream: TextIO | None = None) -> Iterator[None]:
    """Show `what` and the seconds that it has taken, once they are more than `delay`.

    Only on a terminal, and never in CI; nothing of it is left after the block.

    Args:
        what: is being done, such as "install what unit needs".
        delay: seconds.
        stream: by default standard error, which is no program's result.
    """
    target = stream or sys.stderr
    if not is_live(target):
        yield
        return
    over = threading.Event()
    start = time.monotonic()

    def show() -> None:
        pause, shown = delay, False
        while not over.wait(pause):
            pause, shown = 1.0, True
            line = f"… {what} ({time.monotonic() - start:.0f} s)"
            target.write(f"{_CLEAR}{line[: shutil.get_terminal_size().columns - 1]}")
            target.flush()
        if shown:
            target.write(_CLEAR)
            target.flush()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
