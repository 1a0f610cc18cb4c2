"""The routes of one kind: create, list, read, update, delete."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from ... import domain
from ...changes import announced
from .. import fields
from ..credentials import Trusted
from ..failures import documented
from ..outside import Outside
from ..pages import Asked, Page, page
from .kinds import Kind


class Filters(Asked):
    """Which of them."""

    # PostgreSQL knows no NUL in a text.
    search: str = Field(default="", max_length=domain.EMAIL_LENGTH, pattern=r"^[^\x00]*$")
    team: fields.Id | None = None


def routes(kind: Kind) -> APIRouter:
    """Return the routes of `kind`."""
    router = APIRouter(prefix=f"/{kind.plural}", tags=[kind.plural])
    # By these names tools see that a team's id is what a user's team_id is about.
    one, parameter = f"/{{{kind.name}_id}}", Path(alias=f"{kind.name}_id")

    @router.post(
        "",
        name=f"create_{kind.name}",
        status_code=HTTPStatus.CREATED,
        response_model=kind.made or kind.view,
        responses=documented(HTTPStatus.CONFLICT),
    )
    async def create(
        body: kind.create,  # type: ignore[name-defined]  # It is known when FastAPI looks.
        outside: Outside,
        credentials: Trusted,
        request: Request,
        response: Response,
    ) -> Any:
        """Create one."""
        made = await announced(outside.config, lambda: kind.make(kind, body, outside, credentials))
        response.headers["Location"] = f"{request.url.path}/{made.id}"
        if kind.made:
            response.headers["Cache-Control"] = "no-store"
        return made

    @router.get("", name=f"list_{kind.plural}", response_model=Page.__class_getitem__(kind.view))
    async def list_(outside: Outside, request: Request, wanted: Annotated[Filters, Query()]) -> Any:
        """List them, newest first; `search` picks by name, `team` those of one team."""
        return await page(
            request,
            wanted,
            kind.collection(outside.database),
            search=domain.canonical(wanted.search),
            team=wanted.team,
        )

    @router.get(
        one,
        name=f"get_{kind.name}",
        response_model=kind.view,
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def get(outside: Outside, id_: Annotated[fields.Id, parameter]) -> Any:
        """Return one."""
        return await kind.collection(outside.database).get(id_)

    @router.patch(
        one,
        name=f"update_{kind.name}",
        response_model=kind.view,
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def update(
        body: kind.patch,  # type: ignore[name-defined]  # As above.
        outside: Outside,
        credentials: Trusted,
        id_: Annotated[fields.Id, parameter],
    ) -> Any:
        """Replace the fields that are sent, and return the whole."""
        values = await kind.values(body, outside, credentials)
        version = getattr(body, "version", None)
        collection = kind.collection(outside.database)
        return await announced(
            outside.config, lambda: collection.update(id_, values, version=version)
        )

    @router.delete(
        one,
        name=f"delete_{kind.name}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def delete(outside: Outside, id_: Annotated[fields.Id, parameter]) -> None:
        """Delete one, and all that belongs to it."""
        collection = kind.collection(outside.database)

        async def remove() -> object:
            removed = await collection.get(id_)
            await collection.remove(id_)
            return removed

        await announced(outside.config, remove)

    return router
