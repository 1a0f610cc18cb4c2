"""Structured logs: one JSON object per line, from our code and from libraries alike."""

import logging
import sys
from typing import TextIO

import structlog

# Without the values of local variables, passwords and keys among them.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


class _Line(structlog.WriteLogger):
    """Writes lines, and knows what it is called."""

    def __init__(self, stream: TextIO, name: str = "") -> None:
        super().__init__(stream)
        self.name = name


def configure(level: str, stream: TextIO = sys.stdout) -> None:
    """Send everything that is logged at `level` or above to `stream`.

    What is bound by `structlog.contextvars` (the id of the request) is in every line.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[structlog.typing.Processor] = [_TRACEBACKS, structlog.processors.JSONRenderer()]
    # Not by way of `logging`, which costs three times as much for the line of each request.
    structlog.configure(
        processors=[*shared, *rendering],
        logger_factory=lambda *names: _Line(stream, *names),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = logging.StreamHandler(stream)
    formatter = structlog.stdlib.ProcessorFormatter
    theirs = [formatter.remove_processors_meta, *rendering]
    handler.setFormatter(formatter(foreign_pre_chain=shared, processors=theirs))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
