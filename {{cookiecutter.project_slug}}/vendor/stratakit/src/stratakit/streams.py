"""Standard streams that are closed, or whose reader ends early, such as `head`.

Standard library only, since noxfile.py imports it.
"""

import atexit
import os
import select
import sys
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol

READER_ENDED = 141
"""Exit code of a program that was cut short since nobody reads its output: as of SIGPIPE's."""


class _Hook(Protocol):
    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None, /
    ) -> object: ...


def prepare() -> None:
    """Make closed streams usable, and end quietly if a reader ends early; call it first."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free descriptor, so its own: no file or socket takes its place, also not
            # in the programs that we start.
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - open until the end
            os.set_inheritable(stream.fileno(), True)  # noqa: FBT003 - positional-only
            setattr(sys, name, stream)
    sys.excepthook = partial(_end_quietly, sys.excepthook)
    atexit.register(flush)


def flush() -> None:
    """Flush standard output and error, and drop what nobody reads."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            # Python flushes once more at exit: this would fail again, and change the exit code.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def reader_ended() -> bool:
    """Return whether the program that reads our output has ended."""
    if sys.platform == "win32":
        return True  # It has no poll.
    streams = select.poll()
    for number in (1, 2):
        streams.register(number, 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in streams.poll(0))


def is_coloured() -> bool:
    """Return whether standard output is a terminal that shows colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _end_quietly(
    shown: _Hook,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    if isinstance(error, BrokenPipeError) and reader_ended():
        sys.exit(READER_ENDED)
    shown(kind, error, trace)
