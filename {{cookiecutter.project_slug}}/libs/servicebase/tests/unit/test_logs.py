"""What a line of the log looks like."""

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
    """Where the logs go during the test, which leaves the logging of others as it was."""
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    stream = io.StringIO()
    logs.configure("info", stream)
    yield stream
    structlog.reset_defaults()
    logging.root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_be_it_ours_or_of_a_library(stream: io.StringIO) -> None:
    structlog.get_logger("mine").info("it happened", count=3)
    logging.getLogger("uvicorn.error").warning("stopped after %d s", 3)
    ours, theirs = lines(stream)
    assert all(line.pop("timestamp").endswith("Z") for line in (ours, theirs))
    assert ours == {"event": "it happened", "count": 3, "level": "info", "logger": "mine"}
    assert theirs == {"event": "stopped after 3 s", "level": "warning", "logger": "uvicorn.error"}


def test_every_line_from_the_level_on_knows_its_request(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="id-1"):
        for logger in (structlog.get_logger(), logging.getLogger("theirs")):
            logger.debug("below")
            logger.info("at")
    assert [(line["event"], line["request_id"]) for line in lines(stream)] == [("at", "id-1")] * 2


def test_an_exception_stays_on_one_line_with_its_traceback_and_without_values_of_variables(
    stream: io.StringIO,
) -> None:
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
