"""Request ids and access lines."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Scope
from structlog.typing import EventDict

from servicebase.middleware import CLIENT_GONE, AccessLog

from ..notes import PATH


async def test_an_id_that_came_with_the_request_is_kept(client: httpx2.AsyncClient) -> None:
    response = await client.get(PATH, headers={"X-Request-ID": "id-1"})
    assert response.headers["x-request-id"] == "id-1"


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, '"}{', "é"])
async def test_an_id_that_could_do_harm_is_replaced(
    client: httpx2.AsyncClient,
    given: str,
) -> None:
    response = await client.get(PATH, headers={b"X-Request-ID": given.encode()})
    assert response.headers["x-request-id"] not in {"", given}


async def test_each_request_without_an_id_gets_one_of_its_own(client: httpx2.AsyncClient) -> None:
    ids = {(await client.get(PATH)).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_each_request_is_one_line(
    client: httpx2.AsyncClient,
    lines: list[EventDict],
) -> None:
    await client.get(f"{PATH}?limit=7", headers={"X-Request-ID": "id-1"})
    [line] = lines
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "request_id": "id-1",
        "method": "GET",
        "path": PATH,
        "status": 200,
    }


async def test_a_probe_that_found_all_well_is_a_line_for_debugging(
    client: httpx2.AsyncClient,
    lines: list[EventDict],
) -> None:
    await client.get("/health/ready")
    assert [line["log_level"] for line in lines] == ["debug"]


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


async def test_a_crash_in_the_middle_of_a_response_breaks_it_off(
    app: FastAPI,
    client: httpx2.AsyncClient,
    lines: list[EventDict],
) -> None:
    def halves() -> Iterator[bytes]:
        yield b"one"
        raise RuntimeError("the cause")

    @app.get("/crash")
    def crash() -> StreamingResponse:
        return StreamingResponse(halves())

    with pytest.raises(RuntimeError, match="the cause"):
        await client.get("/crash")
    assert [(line["event"], line.get("status")) for line in lines] == [
        ("crash", None),
        ("request", 200),
    ]


async def test_nothing_of_a_request_is_left_in_the_next(client: httpx2.AsyncClient) -> None:
    await client.get(PATH)
    assert structlog.contextvars.get_contextvars() == {}


async def test_a_client_that_left_before_the_answer_is_a_line_as_well(
    app: FastAPI,
    client: httpx2.AsyncClient,
    lines: list[EventDict],
) -> None:
    class Nothing(Response):
        async def __call__(self, *_: object) -> None:
            pass

    @app.get("/nothing")
    def nothing() -> Response:
        return Nothing()

    with pytest.raises(AssertionError):  # Of the client, which knows no such end.
        await client.get("/nothing")
    assert lines[-1]["status"] == CLIENT_GONE


async def test_a_client_that_left_in_the_middle_of_its_request_is_no_crash(
    app: FastAPI, lines: list[EventDict]
) -> None:
    @app.post("/raw")
    async def raw(request: Request) -> None:
        await request.body()

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/raw",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
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


async def test_a_service_may_count_requests_and_answer_a_crash_in_its_own_way(
    app: FastAPI,
) -> None:
    noted: list[object] = []

    class Own(AccessLog):
        QUIET = ("/quiet",)

        def began(self) -> None:
            noted.append("began")

        def ended(self, scope: Scope, status: int, seconds: float) -> None:
            noted.append((scope["path"], status, seconds >= 0))

        def crash(self) -> Response:
            return Response("oops", 500)

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError

    app.user_middleware.clear()
    app.add_middleware(Own)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        with structlog.testing.capture_logs():
            assert (await client.get("/crash")).text == "oops"
    assert noted == ["began", ("/crash", 500, True)]
