"""The {{ cookiecutter.__resources }}: create, read, list, update, delete."""

import hashlib
import json
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from .. import domain, errors
from ..ports import Claim, IdempotencyStore, Position
from . import cursor as cursors
from . import schemas
from .outside import Outside
from .problem import documented

PATH = "/v1/{{ cookiecutter.__resources }}"
PAGE = 50
PAGE_LIMIT = 200

router = APIRouter(
    prefix=PATH,
    tags=["{{ cookiecutter.__resources }}"],
    responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
Limit = Annotated[int, Query(ge=1, le=PAGE_LIMIT)]
# PostgreSQL knows no NUL in a text.
Search = Annotated[str, Query(max_length=domain.NAME_LENGTH, pattern=r"^[^\x00]*$")]


def _position(cursor: Annotated[str | None, Query()] = None) -> Position | None:
    """Return where the page before ended."""
    if cursor is None:
        return None
    try:
        return cursors.decode(cursor)
    except ValueError as error:
        wrong = {"type": "value_error", "loc": ("query", "cursor"), "msg": str(error)}
        raise RequestValidationError([wrong]) from error


@router.post("", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
async def create(
    body: schemas.{{ cookiecutter.__class }}Create,
    outside: Outside,
    request: Request,
    response: Response,
    key: Key = None,
) -> domain.{{ cookiecutter.__class }}:
    """Create one. A retry with the same Idempotency-Key and body returns what the first created."""
    new = body.new()
    id_ = await _id(outside.idempotency, key, new) if key else uuid4()
    created = await outside.repository.add(id_, new)
    response.headers["Location"] = f"{request.url.path}/{created.id}"
    return created


@router.get("")
async def list_(
    outside: Outside,
    request: Request,
    after: Annotated[Position | None, Depends(_position)],
    limit: Limit = PAGE,
    search: Search = "",
) -> schemas.{{ cookiecutter.__class }}Page:
    """List them, newest first; `search` picks by the beginning of the name, or by a tag."""
    # One more than asked for tells whether there is a next page, without counting.
    found = await outside.repository.page(
        limit=limit + 1,
        after=after,
        search=domain.canonical(search),
    )
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        cursor = cursors.encode(Position(last.created_at, last.id))
        following = f"{request.url.path}?{request.url.include_query_params(cursor=cursor).query}"
    return schemas.{{ cookiecutter.__class }}Page(data=list(found[:limit]), next=following)


@router.get("/{id}", responses=documented(HTTPStatus.NOT_FOUND))
async def read(
    outside: Outside,
    id_: Annotated[UUID, Path(alias="id")],
) -> domain.{{ cookiecutter.__class }}:
    """Return one."""
    return await outside.repository.get(id_)


@router.patch("/{id}", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
async def update(
    outside: Outside,
    id_: Annotated[UUID, Path(alias="id")],
    body: schemas.{{ cookiecutter.__class }}Patch,
) -> domain.{{ cookiecutter.__class }}:
    """Replace the fields that are sent, and return the whole."""
    return await outside.repository.update(id_, **body.changes())


@router.delete(
    "/{id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(HTTPStatus.NOT_FOUND),
)
async def delete(outside: Outside, id_: Annotated[UUID, Path(alias="id")]) -> None:
    """Delete one."""
    await outside.repository.remove(id_)


async def _id(
    store: IdempotencyStore,
    key: str,
    new: domain.New{{ cookiecutter.__class }},
) -> UUID:
    """Return the id that `key` stands for.

    Creation is idempotent by id, so that a retry ends with the one that the first attempt meant,
    whichever step of that one failed. (A retry after a delete creates it once more.)

    Raises:
        KeyReusedError: the key came with another body before.
    """
    canonical = json.dumps(asdict(new), sort_keys=True)
    mine = Claim(uuid4(), hashlib.sha256(canonical.encode()).hexdigest())
    claim = await store.claim(key, mine)
    if claim.fingerprint != mine.fingerprint:
        raise errors.KeyReusedError
    return claim.id
