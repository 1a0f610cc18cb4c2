"""Cursors: what they carry, and what they refuse."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import cursor
from gateway.ports import Position


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_leads_back_to_its_position(created_at: datetime, id_: UUID) -> None:
    position = Position(created_at, id_)
    assert cursor.decode(cursor.encode(position)) == position


def test_a_cursor_needs_no_quoting_in_a_url() -> None:
    position = Position(datetime(2026, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))
    assert cursor.encode(position).strip("_-").isalnum()


@pytest.mark.parametrize(
    "text",
    ["", "x", "a cursor", "f" + "_" * 31, "A" * 31, "A" * 36, "é" * 32],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no cursor of this API"):
        cursor.decode(text)
