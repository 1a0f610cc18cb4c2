"""Cursors, what they carry and what they refuse; and the pages that they lead to."""

from datetime import UTC, datetime
from itertools import chain
from uuid import UUID, uuid4

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicebase.errors import InvalidError
from servicebase.pagination import SIZE, SIZE_LIMIT, Position, decode, encode

from ..notes import PATH, MemoryNotes, NewNote


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_leads_back_to_its_position(created_at: datetime, id_: UUID) -> None:
    position = Position(created_at, id_)
    assert decode(encode(position)) == position


def test_a_cursor_needs_no_quoting_in_a_url() -> None:
    position = Position(datetime(2026, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))
    assert encode(position).strip("_-").isalnum()


@pytest.mark.parametrize(
    "text",
    ["", "x", "a cursor", "f" + "_" * 31, "A" * 31, "A" * 36, "é" * 32],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="cursor is none of this API"):
        decode(text)


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [("?limit=2", [2, 2, 1]), ("?limit=5", [5]), ("", [5])],
)
async def test_pages_lead_from_one_to_the_next_until_there_is_no_more(
    client: httpx2.AsyncClient, memory_notes: MemoryNotes, limit: str, sizes: list[int]
) -> None:
    assert (await client.get(PATH + limit)).json() == {"data": [], "next": None}
    for name in "abcde":
        await memory_notes.add(uuid4(), NewNote(name=name))
    pages = []
    following = PATH + limit
    while following:
        page = (await client.get(following)).json()
        pages.append([note["name"] for note in page["data"]])
        following = page["next"]
    assert [len(page) for page in pages] == sizes
    assert "".join(chain(*pages)) == "edcba"


async def test_a_page_is_limited_without_being_asked(
    client: httpx2.AsyncClient, memory_notes: MemoryNotes
) -> None:
    for number in range(SIZE + 1):
        await memory_notes.add(uuid4(), NewNote(name=f"{number}"))
    assert len((await client.get(PATH)).json()["data"]) == SIZE


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        (f"limit={SIZE_LIMIT + 1}", "limit"),
        ("limit=x", "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("curser=x", "curser"),
    ],
)
async def test_a_bad_parameter_answers_422_and_is_named(
    client: httpx2.AsyncClient, query: str, parameter: str
) -> None:
    response = await client.get(f"{PATH}?{query}")
    assert response.status_code == 422
    assert [error["parameter"] for error in response.json()["errors"]] == [parameter]
