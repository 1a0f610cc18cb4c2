"""Routes of {{ cookiecutter.__resources }}: create, read, list, update, delete."""

from functools import partial
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from servicebase.idempotency import IdempotencyKey, id_for
from servicebase.pagination import Page, PageParams, page
from servicebase.problem import documented
from servicebase.values import canonical

from .. import domain
from . import schemas
from .dependencies import PortsDep

PATH = "/v1/{{ cookiecutter.__resources }}"

router = APIRouter(
    prefix=PATH,
    tags=["{{ cookiecutter.__resources }}"],
    responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)


class Filter(PageParams):
    """Query parameters of the list."""

    # PostgreSQL cannot store NUL in a text.
    search: str = Field(default="", max_length=domain.NAME_LENGTH, pattern=r"^[^\x00]*$")


@router.post("", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
async def create(
    body: schemas.{{ cookiecutter.__class }}Create,
    ports: PortsDep,
    request: Request,
    response: Response,
    key: IdempotencyKey = None,
) -> domain.{{ cookiecutter.__class }}:
    """Create one. A retry with the same Idempotency-Key and body returns the one created first."""
    new = body.new()
    id_ = await id_for(ports.idempotency, key, new)
    created = await ports.repository.add(id_, new)
    response.headers["Location"] = f"{request.url.path}/{created.id}"
    return created


@router.get("", response_model=Page[domain.{{ cookiecutter.__class }}])
async def list_(
    ports: PortsDep, request: Request, params: Annotated[Filter, Query()]
) -> dict[str, object]:
    """List them, newest first; `search` matches the beginning of the name, or a tag."""
    find = partial(ports.repository.page, search=canonical(params.search))
    return await page(request, params, find)


@router.get("/{id}", responses=documented(HTTPStatus.NOT_FOUND))
async def read(
    ports: PortsDep,
    id_: Annotated[UUID, Path(alias="id")],
) -> domain.{{ cookiecutter.__class }}:
    """Return one."""
    return await ports.repository.get(id_)


@router.patch("/{id}", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
async def update(
    ports: PortsDep,
    id_: Annotated[UUID, Path(alias="id")],
    body: schemas.{{ cookiecutter.__class }}Patch,
) -> domain.{{ cookiecutter.__class }}:
    """Replace the fields in the body, and return the result."""
    return await ports.repository.update(id_, body.changes())


@router.delete(
    "/{id}", status_code=HTTPStatus.NO_CONTENT, responses=documented(HTTPStatus.NOT_FOUND)
)
async def delete(ports: PortsDep, id_: Annotated[UUID, Path(alias="id")]) -> None:
    """Delete one."""
    await ports.repository.remove(id_)
