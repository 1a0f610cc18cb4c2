"""Request ids and access lines."""

from contextlib import nullcontext

import httpx2
import pytest
import structlog
from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict

from servicebase.middleware import CLIENT_GONE, AccessLog

from ..notes import PATH


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


async def test_a_probe_that_found_all_well_is_a_line_for_debugging(
    client: httpx2.AsyncClient, lines: list[EventDict]
) -> None:
    await client.get("/health/ready")
    assert [line["log_level"] for line in lines] == ["debug"]


async def test_a_crash_is_logged_with_its_cause_and_answered_without_it(
    app: FastAPI, client: httpx2.AsyncClient, lines: list[EventDict]
) -> None:
    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("the cause")

    response = await client.get("/crash")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "the cause" not in response.text
    crashed, request = lines
    assert (crashed["event"], crashed["exc_info"]) == ("crash", True)
    assert (request["event"], request["status"]) == ("request", 500)
    assert {line["request_id"] for line in lines} == {response.headers["x-request-id"]}


async def breaks_off(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("the cause")


async def waits_for_the_rest(scope: Scope, receive: Receive, _: Send) -> None:
    await Request(scope, receive).body()


async def says_nothing(*_: object) -> None:
    pass


@pytest.mark.parametrize(
    ("app", "events"),
    [
        (breaks_off, [("crash", None), ("request", 200)]),
        (waits_for_the_rest, [("request", CLIENT_GONE)]),
        (says_nothing, [("request", CLIENT_GONE)]),
    ],
)
async def test_a_request_that_is_not_answered_to_its_end_is_a_line_as_well(
    lines: list[EventDict], app: ASGIApp, events: list[tuple[str, int | None]]
) -> None:
    async def client_leaves() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        assert app is breaks_off, message

    # The server is told, to break off as well.
    with pytest.raises(RuntimeError) if app is breaks_off else nullcontext():
        await AccessLog(app)(
            {"type": "http", "method": "POST", "path": PATH, "headers": []}, client_leaves, send
        )
    assert [(line["event"], line.get("status")) for line in lines] == events


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

    async def crash(*_: object) -> None:
        raise RuntimeError

    transport = httpx2.ASGITransport(app=Own(crash))
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        assert (await client.get("/crash")).text == "oops"
    assert noted == ["began", ("/crash", 500, True)]
