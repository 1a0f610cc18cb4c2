"""Cursor pagination of lists: newest first, and by descending id where times are equal."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from fastapi import Request
from pydantic import AfterValidator, BaseModel, Field

from .errors import InvalidError

SIZE = 50
SIZE_LIMIT = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# 24 bytes, so that base64 needs no padding.
_FORMAT = struct.Struct(">q16s")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Position(NamedTuple):
    """Position in the order of a list."""

    created_at: datetime
    id: UUID


class Find(Protocol[T_co]):
    """Query for at most `limit` items after a position."""

    def __call__(self, *, limit: int, after: Position | None) -> Awaitable[Sequence[T_co]]:
        """Return the items."""


def encode(position: Position) -> str:
    """Return the cursor of `position`, which is opaque to clients."""
    microseconds = (position.created_at - _EPOCH) // _MICROSECOND
    return urlsafe_b64encode(_FORMAT.pack(microseconds, position.id.bytes)).decode()


def decode(cursor: str) -> Position:
    """Return the position of `cursor`.

    Raises:
        InvalidError: `encode` did not make it.
    """
    try:
        microseconds, id_ = _FORMAT.unpack(urlsafe_b64decode(cursor))
        return Position(_EPOCH + microseconds * _MICROSECOND, UUID(bytes=id_))
    except (ValueError, OverflowError, struct.error) as error:
        raise InvalidError("cursor", "was not issued by this API") from error


def _known(cursor: str) -> str:
    decode(cursor)
    return cursor


class PageParams(BaseModel, extra="forbid"):
    """Query parameters of a list. Unknown ones are refused: a misspelt one would do nothing."""

    limit: int = Field(default=SIZE, ge=1, le=SIZE_LIMIT)
    cursor: Annotated[str, Field(max_length=100), AfterValidator(_known)] | None = None

    @property
    def after(self) -> Position | None:
        """Return the end of the previous page."""
        return None if self.cursor is None else decode(self.cursor)


class Page(BaseModel, Generic[T]):
    """Page of a list; `next` links to the next page, and is null on the last."""

    data: list[T]
    next: str | None


async def page(request: Request, params: PageParams, find: Find[T]) -> dict[str, object]:
    """Return a Page of the results of `find`, for FastAPI's `response_model`."""
    # One item more than asked for shows whether there is a next page, without counting.
    found = await find(limit=params.limit + 1, after=params.after)
    following = None
    if len(found) > params.limit:
        last = found[params.limit - 1]
        cursor = encode(Position(last.created_at, last.id))  # pyrefly: ignore[missing-attribute]
        following = f"{request.url.path}?{request.url.include_query_params(cursor=cursor).query}"
    return {"data": list(found[: params.limit]), "next": following}
