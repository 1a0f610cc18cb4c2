"""HTTP behaviour shared by all services: probes, pages, idempotent creation, and errors."""

from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from structlog.typing import EventDict

from servicebase import errors, problem
from servicebase.idempotency import MemoryIdempotency
from servicebase.pagination import SIZE, SIZE_LIMIT, Position, decode, encode

from ..notes import PATH, MemoryNotes, NewNote, problem_in

KEY = {"Idempotency-Key": "key"}
LAMP, DESK = {"name": "lamp"}, {"name": "desk"}


@pytest.mark.parametrize("down", [[], ["notes"], ["keys"], ["notes", "keys"]])
async def test_ready_answers_503_and_names_what_is_down_while_live_answers_200(
    client: httpx2.AsyncClient,
    memory_notes: MemoryNotes,
    memory_idempotency: MemoryIdempotency,
    lines: list[EventDict],
    down: list[str],
) -> None:
    memory_notes.down = "notes" in down
    memory_idempotency.down = "keys" in down
    live, ready = [await client.get(f"/health/{probe}") for probe in ("live", "ready")]
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    if down:
        assert problem_in(ready, 503)["detail"] == f"down: {', '.join(down)}"
        assert [line["server"] for line in lines if line["event"] == "down"] == down
    memory_notes.down = memory_idempotency.down = False
    again = await client.get("/health/ready")
    assert (again.status_code, again.json()) == (200, {"status": "ready"})


async def test_a_key_creates_once(client: httpx2.AsyncClient, memory_notes: MemoryNotes) -> None:
    first = await client.post(PATH, json=LAMP, headers=KEY)
    retry = await client.post(PATH, json={"name": " lamp", "quantity": 0}, headers=KEY)
    other = await client.post(PATH, json=DESK, headers=KEY)
    assert [each.status_code for each in (first, retry, other)] == [201, 201, 422]
    assert retry.json() == first.json()
    assert "another body" in other.json()["detail"]
    assert len(await memory_notes.page(limit=9)) == 1


async def test_a_key_creates_nothing_while_a_server_is_down_and_may_be_tried_again(
    client: httpx2.AsyncClient, memory_idempotency: MemoryIdempotency, memory_notes: MemoryNotes
) -> None:
    for server in (memory_notes, memory_idempotency):
        server.down = True
        assert (await client.post(PATH, json=LAMP, headers=KEY)).status_code == 503
        memory_notes.down = False
        assert not await memory_notes.page(limit=9)
    # The store is not called without a key.
    assert (await client.post(PATH, json=DESK)).status_code == 201
    memory_idempotency.down = False
    assert (await client.post(PATH, json=LAMP, headers=KEY)).status_code == 201


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_bad_key_answers_422(client: httpx2.AsyncClient, key: str) -> None:
    response = await client.post(PATH, json=LAMP, headers={"Idempotency-Key": key})
    assert problem_in(response, 422)["errors"][0]["parameter"] == "Idempotency-Key"


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_decodes_to_its_position_and_needs_no_quoting_in_a_url(
    created_at: datetime, id_: UUID
) -> None:
    cursor = encode(Position(created_at, id_))
    assert decode(cursor) == Position(created_at, id_)
    assert quote(cursor) == cursor


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [("?limit=20", [20, 20, SIZE - 39]), (f"?limit={SIZE + 1}", [SIZE + 1]), ("", [SIZE, 1])],
)
async def test_each_page_links_to_the_next_until_the_last(
    client: httpx2.AsyncClient, memory_notes: MemoryNotes, limit: str, sizes: list[int]
) -> None:
    assert (await client.get(PATH + limit)).json() == {"data": [], "next": None}
    names = [str(number) for number in range(SIZE + 1)]
    for name in names:
        await memory_notes.add(uuid4(), NewNote(name=name))
    pages, following = [], PATH + limit
    while following:
        page = (await client.get(following)).json()
        pages.append([note["name"] for note in page["data"]])
        following = page["next"]
    assert [len(page) for page in pages] == sizes
    assert [*chain(*pages)] == names[::-1]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *(("limit", value) for value in ("0", SIZE_LIMIT + 1, "x")),
        *(("cursor", value) for value in ("", "x", "a cursor", "f" + "_" * 31, "A" * 31, "A" * 36)),
        ("cursor", "é" * 32),
        ("curser", "x"),
    ],
)
async def test_a_bad_parameter_answers_422_and_is_named(
    client: httpx2.AsyncClient, parameter: str, value: str | int
) -> None:
    response = await client.get(PATH, params={parameter: value})
    [error] = problem_in(response, 422)["errors"]
    assert error["parameter"] == parameter
    assert parameter != "cursor" or error["detail"] == "cursor was not issued by this API"


JSON = {"Content-Type": "application/json"}
BAD_BODIES = {
    "#/name": (
        *("{}", '{"name": null}', '{"name": NaN}'),
        *('{"name": "a\\u0000b"}', '{"name": "\\ud800"}'),
    ),
    "#/quantity": ('{"name": "x", "quantity": true}', '{"name": "x", "quantity": "secret"}'),
    "#/tags/0": ('{"name": "x", "tags": [1]}',),
    "#/attributes": (
        *('{"name": "x", "attributes": {"a": NaN}}', '{"name": "x", "attributes": {"a": 1e999}}'),
        '{"name": "x", "attributes": {"a": "\\u0000"}}',
    ),
    "#/a~1b~0c": ('{"name": "x", "a/b~c": 1}',),
    "#/name #/quantity #/tags/0": ('{"name": "", "quantity": "1", "tags": [1]}',),
    "#": ("[]", "1", "{", "", '{"name": "x", "\\ud800": 1}'),
}


class TeapotError(errors.ServiceError):
    """Error of a service's own."""


class NameTakenError(errors.ConflictError):
    """Error with the status of its base."""


def test_every_error_has_a_status() -> None:
    kinds = {each for each in vars(errors).values() if isinstance(each, type)} - {UUID}
    assert kinds - {errors.ServiceError} == problem.STATUSES.keys()


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    # The last body is not UTF-8.
    [("GET", "/nothing", b"", 404), ("PUT", PATH, b"{}", 405), ("POST", PATH, b"\xff", 400)],
)
async def test_a_request_that_reaches_no_route_gets_a_problem_too(
    client: httpx2.AsyncClient, method: str, path: str, content: bytes, status: int
) -> None:
    response = await client.request(method, path, content=content, headers=JSON)
    body = problem_in(response, status)
    assert ("allow" in response.headers, "detail" in body) == (status == 405, status == 400)
    body.pop("detail", None)
    assert body == {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "request_id": response.headers["x-request-id"],
    }


@pytest.mark.parametrize(
    ("error", "status", "pointer"),
    [
        (errors.NotFoundError("note", UUID(int=7)), 404, None),
        (errors.ConflictError("name"), 409, "#/name"),
        (errors.InvalidError("name", "is bad"), 422, "#/name"),
        (errors.InvalidReferenceError("team_id"), 422, "#/team_id"),
        (errors.KeyReusedError(), 422, None),
        (errors.UnavailableError("postgres"), 503, None),
        (TeapotError("no coffee"), 418, None),
        (NameTakenError("name"), 409, "#/name"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_each_error_has_a_status_and_names_the_field(
    app: FastAPI,
    client: httpx2.AsyncClient,
    lines: list[EventDict],
    error: errors.ServiceError,
    status: int,
    pointer: str | None,
) -> None:
    @app.get("/error")
    def fail() -> None:
        raise error

    problem.install(app, {TeapotError: HTTPStatus.IM_A_TEAPOT})
    response = await client.get("/error")
    body = problem_in(response, status)
    assert body["detail"] == str(error)
    wrong = [{"detail": str(error), "pointer": pointer}] if pointer else None
    assert body.get("errors") == wrong
    # The client may retry when a server is down; only the log has the cause.
    gone = [line["server"] for line in lines if line["log_level"] == "warning"]
    assert gone == (["postgres"] if status == 503 else [])
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)


@pytest.mark.parametrize(
    ("content", "named"), [(text, named) for named, texts in BAD_BODIES.items() for text in texts]
)
async def test_a_bad_body_answers_422_with_a_pointer_to_each_bad_value_but_not_the_value(
    client: httpx2.AsyncClient, content: str, named: str
) -> None:
    response = await client.post(PATH, content=content.encode(), headers=JSON)
    wrong = problem_in(response, 422)["errors"]
    assert [error["pointer"] for error in wrong] == named.split()
    assert "secret" not in response.text
