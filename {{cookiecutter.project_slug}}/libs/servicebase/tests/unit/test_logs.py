"""Format of log lines."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from servicebase import logs


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The stream that the test logs to; the process's logging is restored afterwards."""
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    stream = io.StringIO()
    logs.configure("info", stream)
    yield stream
    structlog.reset_defaults()
    logging.root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_of_ours_and_of_libraries_are_json(stream: io.StringIO) -> None:
    structlog.get_logger("mine").info("it happened", count=3)
    logging.getLogger("uvicorn.error").warning("stopped after %d s", 3)
    ours, theirs = lines(stream)
    assert all(line.pop("timestamp").endswith("Z") for line in (ours, theirs))
    assert ours == {"event": "it happened", "count": 3, "level": "info", "logger": "mine"}
    assert theirs == {"event": "stopped after 3 s", "level": "warning", "logger": "uvicorn.error"}


def test_lines_at_or_above_the_level_have_the_request_id(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="id-1"):
        for logger in (structlog.get_logger(), logging.getLogger("theirs")):
            logger.debug("below")
            logger.info("at")
    assert [(line["event"], line["request_id"]) for line in lines(stream)] == [("at", "id-1")] * 2


def test_an_exception_is_one_line_with_a_traceback_without_locals(stream: io.StringIO) -> None:
    def log_in(secret: str) -> None:
        raise RuntimeError(len(secret))

    try:
        log_in("correct horse")
    except RuntimeError:
        structlog.get_logger().exception("crash")
        logging.getLogger("theirs").exception("crash")
    ours, theirs = lines(stream)
    for line in (ours, theirs):
        [exception] = line["exception"]
        assert (exception["exc_type"], exception["exc_value"]) == ("RuntimeError", "13")
        assert exception["frames"]
    assert "correct horse'" not in stream.getvalue()
