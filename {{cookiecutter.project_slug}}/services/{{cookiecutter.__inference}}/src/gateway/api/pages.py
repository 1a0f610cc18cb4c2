"""Lists, a page at a time."""

from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field

from .. import errors
from ..ports import Collection, Position
from . import cursor as cursors

SIZE = 50
SIZE_LIMIT = 200

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """Some of the list; `next` leads to those that follow, and is null on the last page."""

    data: list[T]
    next: str | None


class Asked(BaseModel):
    """Which page. A parameter that there is not is refused: a misspelt one would do nothing."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=SIZE, ge=1, le=SIZE_LIMIT)
    cursor: Annotated[str, Field(max_length=100)] | None = None

    @property
    def after(self) -> Position | None:
        """Return where the page before ended.

        Raises:
            InvalidError: the cursor is none.
        """
        try:
            return None if self.cursor is None else cursors.decode(self.cursor)
        except ValueError as error:
            raise errors.InvalidError("cursor", "is none of this API") from error


Wanted = Annotated[Asked, Query()]


async def page(
    request: Request, asked: Asked, collection: Collection[Any, T], **filters: Any
) -> dict[str, object]:
    """Return a Page of those that `filters` pick, newest first."""
    # One more than asked for tells whether there is a next page, without counting.
    found = await collection.page(limit=asked.limit + 1, after=asked.after, **filters)
    following = None
    if len(found) > asked.limit:
        last: Any = found[asked.limit - 1]
        cursor = cursors.encode(Position(last.created_at, last.id))
        following = f"{request.url.path}?{request.url.include_query_params(cursor=cursor).query}"
    return {"data": found[: asked.limit], "next": following}
