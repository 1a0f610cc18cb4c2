"""Progress line on a terminal for something that takes long.

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
"""Seconds before the line appears: shorter work needs none."""
_CLEAR = "\r\x1b[2K"


def is_live(stream: TextIO) -> bool:
    """Return whether a stream is an interactive terminal that can show a changing line."""
    return stream.isatty() and not {"CI", "NO_COLOR"} & {*os.environ}


@contextmanager
def progress(what: str, *, delay: float = DELAY, stream: TextIO | None = None) -> Iterator[None]:
    """Show `what` and its elapsed seconds, once they exceed `delay`.

    Only on a terminal, and never in CI; the line is erased after the block.

    Args:
        what: the work being done, such as "install what unit needs".
        delay: seconds.
        stream: by default standard error, to keep standard output for results.
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
