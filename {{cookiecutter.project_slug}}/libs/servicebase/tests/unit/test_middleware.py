"""Request ids and access lines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext

import httpx2
import pytest
import structlog
from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict

from servicebase import problem
from servicebase.middleware import BODY_BYTES, CLIENT_GONE, AccessLog, BodyLimit

from ..notes import PATH


def caller(app: ASGIApp) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://service")


async def crashes(*_: object) -> None:
    raise RuntimeError("the cause")


async def test_an_id_that_could_do_harm_is_replaced_by_one_of_its_own(
    client: httpx2.AsyncClient,
) -> None:
    bad = ["", "a b", "a" * 129, '"}{', "é"]
    given = [{}, *({b"X-Request-ID": each.encode()} for each in bad)]
    ids = {(await client.get(PATH, headers=each)).headers["x-request-id"] for each in given}
    assert len(ids) == len(given)
    assert not ids & {*bad}


async def test_each_request_is_one_line(client: httpx2.AsyncClient, lines: list[EventDict]) -> None:
    response = await client.get(f"{PATH}?limit=7", headers={"X-Request-ID": "id-1"})
    assert response.headers["x-request-id"] == "id-1"
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
    # Nothing of it is left in the next.
    assert structlog.contextvars.get_contextvars() == {}


async def test_a_crash_is_logged_with_its_cause_and_answered_without_it(
    lines: list[EventDict],
) -> None:
    async with caller(AccessLog(crashes)) as client:
        response = await client.get("/crash")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "the cause" not in response.text
    crashed, request = lines
    assert (crashed["event"], crashed["exc_info"]) == ("crash", True)
    assert (request["event"], request["status"]) == ("request", 500)
    assert {line["request_id"] for line in lines} == {response.headers["x-request-id"]}


async def test_what_a_service_binds_is_in_its_line_alone_and_a_good_probe_is_for_debugging(
    app: FastAPI, client: httpx2.AsyncClient, lines: list[EventDict]
) -> None:
    @app.get("/who")
    async def who() -> None:
        structlog.contextvars.bind_contextvars(team="blue")

    await client.get("/who")
    await client.get("/health/ready")
    found = [(line.get("team"), line["log_level"]) for line in lines]
    assert found == [("blue", "info"), (None, "debug")]


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
@pytest.mark.usefixtures("lines")
async def test_a_body_is_limited_and_is_not_compressed(
    path: str, size: int, headers: dict[str, str], status: int
) -> None:
    app = FastAPI()
    problem.install(app)
    app.add_middleware(BodyLimit, others={"/other": 2})

    @app.post("/any")
    @app.post("/other")
    async def read(request: Request) -> int:
        return len(await request.body())

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * size  # In chunks, so that nothing says how long it is.

    async with caller(app) as client:
        response = await client.post(path, content=body(), headers=headers)
    assert response.status_code == status, response.text


async def is_cut_off(*_: object) -> None:
    """End as the server has it at the end of a shutdown."""
    raise asyncio.CancelledError


async def is_cut_off_in_the_middle(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("half")(scope, receive, send)
    raise asyncio.CancelledError


async def breaks_off(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("the cause")


async def waits_for_the_rest(scope: Scope, receive: Receive, _: Send) -> None:
    await Request(scope, receive).body()


async def says_nothing(*_: object) -> None:
    pass


@pytest.mark.parametrize(
    ("app", "events", "raises"),
    [
        (is_cut_off, [("request", 503)], None),
        # The server is told, to break off as well.
        (is_cut_off_in_the_middle, [("request", 200)], asyncio.CancelledError),
        (breaks_off, [("crash", None), ("request", 200)], RuntimeError),
        (waits_for_the_rest, [("request", CLIENT_GONE)], None),
        (says_nothing, [("request", CLIENT_GONE)], None),
    ],
)
async def test_a_request_that_is_not_answered_to_its_end_is_a_line_as_well(
    lines: list[EventDict],
    app: ASGIApp,
    events: list[tuple[str, int | None]],
    raises: type[BaseException] | None,
) -> None:
    statuses = []

    async def client_leaves() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    with pytest.raises(raises) if raises else nullcontext():
        await AccessLog(app)(
            {"type": "http", "method": "POST", "path": PATH, "headers": []}, client_leaves, send
        )
    assert [(line["event"], line.get("status")) for line in lines] == events
    assert statuses[:1] == [status for _, status in events if status in {200, 503}]


@pytest.mark.usefixtures("lines")
async def test_a_service_may_count_requests_and_answer_a_crash_in_its_own_way() -> None:
    noted: list[object] = []

    class Own(AccessLog):
        def began(self) -> None:
            noted.append("began")

        def ended(self, scope: Scope, status: int, seconds: float) -> None:
            noted.append((scope["path"], status, seconds >= 0))

        def crash(self) -> Response:
            return Response("oops", 500)

    async with caller(Own(crashes)) as client:
        assert (await client.get("/crash")).text == "oops"
    assert noted == ["began", ("/crash", 500, True)]
