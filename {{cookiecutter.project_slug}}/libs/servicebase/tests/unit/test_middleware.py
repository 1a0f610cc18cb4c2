"""Request ids, the access log, limits of bodies, and last-resort responses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext

import httpx2
import pytest
import structlog
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict

from servicebase.middleware import BODY_BYTES, CLIENT_GONE, AccessLog, BodyLimit

from ..notes import PATH, problem_in


def caller(app: ASGIApp) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://service")


async def crashes(*_: object) -> None:
    raise RuntimeError("the cause")


async def test_an_unsafe_request_id_is_replaced(client: httpx2.AsyncClient) -> None:
    bad = ["", "a b", "a" * 129, '"}{', "é"]
    given = [{}, *({b"X-Request-ID": each.encode()} for each in bad)]
    ids = {(await client.get(PATH, headers=each)).headers["x-request-id"] for each in given}
    assert len(ids) == len(given)
    assert not ids & {*bad}


async def test_a_request_is_logged_with_bound_values_and_a_successful_probe_at_debug_level(
    app: FastAPI, client: httpx2.AsyncClient, lines: list[EventDict]
) -> None:
    @app.get("/who")
    async def who() -> None:
        structlog.contextvars.bind_contextvars(team="blue")

    response = await client.get("/who?a=b", headers={"X-Request-ID": "id-1"})
    assert response.headers["x-request-id"] == "id-1"
    await client.get("/health/ready")
    line, probe = lines
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "request_id": "id-1",
        "method": "GET",
        "path": "/who",
        "status": 200,
        "team": "blue",
    }
    assert (probe["log_level"], probe.get("team")) == ("debug", None)


async def test_a_crash_is_logged_with_its_cause_and_answered_without_it(
    lines: list[EventDict],
) -> None:
    async with caller(AccessLog(crashes)) as client:
        response = await client.get("/crash")
    id_ = response.headers["x-request-id"]
    assert problem_in(response, 500)["request_id"] == id_
    assert "the cause" not in response.text
    crashed, request = lines
    assert (crashed["event"], crashed["exc_info"], crashed["request_id"]) == ("crash", True, id_)
    assert (request["event"], request["status"], request["request_id"]) == ("request", 500, id_)


@pytest.mark.parametrize(
    ("path", "size", "headers", "status"),
    [
        ("/any", BODY_BYTES, {}, 200),
        ("/any", BODY_BYTES + 1, {}, 413),
        ("/any", BODY_BYTES, {"Content-Encoding": "identity"}, 200),
        ("/any", 1, {"Content-Encoding": "gzip"}, 415),
        ("/other", 2, {}, 200),
        ("/other", 3, {}, 413),
    ],
)
async def test_a_body_is_limited_and_is_not_compressed(
    path: str, size: int, headers: dict[str, str], status: int
) -> None:
    app = FastAPI()
    app.add_middleware(BodyLimit, others={"/other": 2})

    @app.post(path)
    async def read(request: Request) -> int:
        return len(await request.body())

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * size  # Chunked, so without a Content-Length.

    async with caller(app) as client:
        response = await client.post(path, content=body(), headers=headers)
    assert response.status_code == status, response.text


@pytest.mark.parametrize(
    ("answers", "end", "events"),
    [
        # uvicorn cancels requests at the end of a shutdown.
        (False, asyncio.CancelledError, [("request", 503)]),
        # A response that has begun cannot be replaced, so the server gets the error.
        (True, asyncio.CancelledError, [("request", 200)]),
        (True, RuntimeError, [("crash", None), ("request", 200)]),
        (False, ClientDisconnect, [("request", CLIENT_GONE)]),
        (False, None, [("request", CLIENT_GONE)]),
    ],
)
async def test_a_request_without_a_complete_response_is_logged_too(
    lines: list[EventDict],
    answers: bool,
    end: type[BaseException] | None,
    events: list[tuple[str, int | None]],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if answers:
            await Response("half")(scope, receive, send)
        if end:
            raise end

    statuses = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    with pytest.raises(end) if end and answers else nullcontext():
        await AccessLog(app)(scope, receive, send)
    assert [(line["event"], line.get("status")) for line in lines] == events
    assert statuses[:1] == [status for _, status in events if status in {200, 503}]


@pytest.mark.usefixtures("lines")
async def test_a_service_may_count_requests_and_answer_a_crash_in_its_own_way() -> None:
    noted: list[object] = []

    class Own(AccessLog):
        respond = staticmethod(lambda status: Response("oops", status))

        def began(self) -> None:
            noted.append("began")

        def ended(self, scope: Scope, status: int, seconds: float) -> None:
            noted.append((scope["path"], status, seconds >= 0))

    async with caller(Own(crashes)) as client:
        assert (await client.get("/crash")).text == "oops"
    assert noted == ["began", ("/crash", 500, True)]
