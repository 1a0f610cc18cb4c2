"""Structured logs: one JSON object per line, for our code and libraries alike."""

import logging
import sys
from typing import TextIO

import structlog

# Local variables are left out: they may hold passwords and keys.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


class _Line(structlog.WriteLogger):
    """Line logger with a name, which `add_logger_name` reads."""

    def __init__(self, stream: TextIO, name: str = "") -> None:
        super().__init__(stream)
        self.name = name


def configure(level: str, stream: TextIO = sys.stdout) -> None:
    """Write everything logged at `level` or above to `stream`.

    Values bound by `structlog.contextvars` (the request id) are in every line.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[structlog.typing.Processor] = [_TRACEBACKS, structlog.processors.JSONRenderer()]
    # Bypasses `logging`, which would triple the cost of each access log line.
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
