"""Request ids and access lines."""

from typing import Any

import httpx2
import structlog
from fastapi import FastAPI
from structlog.typing import EventDict

from servicebase.middleware import CLIENT_GONE

from gateway.api.models import PATH


async def test_each_request_is_one_line(
    client: httpx2.AsyncClient,
    lines: list[EventDict],
) -> None:
    await client.get(f"{PATH}?key=secret", headers={"X-Request-ID": "id-1"})
    [line] = lines
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "request_id": "id-1",
        "method": "GET",
        "path": PATH,
        "status": 401,
    }


async def test_a_probe_that_found_all_well_is_a_line_for_debugging(
    client: httpx2.AsyncClient,
    lines: list[EventDict],
) -> None:
    await client.get("/health/ready")
    await client.get("/metrics")
    assert [line["log_level"] for line in lines] == ["debug", "debug"]


async def test_a_crash_is_logged_with_its_cause_and_its_request(
    app: FastAPI,
    client: httpx2.AsyncClient,
    lines: list[EventDict],
) -> None:
    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("the cause")

    response = await client.get("/crash")
    crashed, request = lines
    assert (crashed["event"], crashed["exc_info"]) == ("crash", True)
    assert (request["event"], request["status"]) == ("request", 500)
    assert {line["request_id"] for line in lines} == {response.headers["x-request-id"]}


async def test_a_client_that_left_in_the_middle_of_its_request_is_no_crash(
    app: FastAPI, lines: list[EventDict]
) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/completions",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer sk-x")],
    }
    messages = iter(
        [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        return next(messages)

    async def send(message: object) -> None:
        raise AssertionError(message)

    await app(scope, receive, send)
    [line] = lines
    assert (line["event"], line["status"]) == ("request", CLIENT_GONE)


async def test_nothing_of_a_request_is_left_in_the_next(client: httpx2.AsyncClient) -> None:
    await client.get(PATH)
    assert structlog.contextvars.get_contextvars() == {}
