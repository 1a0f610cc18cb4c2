"""Output of actions: colours and a progress line on a terminal, plain text elsewhere."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .. import progress as progress_line
from ..errors import ConfigurationError

_GREEN, _RED, _PLAIN = "\033[32m", "\033[31m", "\033[0m"


def write_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line; `quiet` prints it to standard error, to keep standard output for JSON."""
    (sys.stderr if quiet else sys.stdout).write(f"{text}\n")


def show(value: Any, text: str, *, json: bool) -> None:
    """Print a value as JSON, or its text for people."""
    if json:
        write_json(value)
    else:
        say(text)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows of cells as plain text with aligned columns."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Show the progress of the block, then its outcome and duration."""
    stream = sys.stderr if quiet else sys.stdout
    start = time.monotonic()
    done = False
    try:
        with progress_line.progress(what, delay=0, stream=stream):
            yield
        done = True
    finally:
        mark, colour = ("ok", _GREEN) if done else ("FAILED", _RED)
        if progress_line.is_live(stream):
            mark = f"{colour}{mark}{_PLAIN}"
        stream.write(f"{mark} {what} ({time.monotonic() - start:.2f} s)\n")


def confirm(question: str, flag: str) -> None:
    """Ask a person to agree.

    Raises:
        ConfigurationError: they did not, or standard input is not a terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"{question}: confirmation is needed, but standard input is not a terminal",
            f"pass {flag}",
        )
    sys.stdout.write(f"{question}? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigurationError("cancelled; nothing was changed")
