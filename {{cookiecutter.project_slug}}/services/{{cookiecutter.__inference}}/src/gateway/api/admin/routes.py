"""The routes of one resource: create, list, read, update, delete."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from servicebase.pagination import Page, PageParams, page
from servicebase.values import canonical

from ... import domain
from ...changes import publish_after
from ..credentials import CredentialsDep
from ..dependencies import PortsDep
from ..error_handlers import documented
from ..schemas import fields
from .resources import AdminResource


class Filters(PageParams):
    """Which of them."""

    # PostgreSQL knows no NUL in a text.
    search: str = Field(default="", max_length=domain.EMAIL_LENGTH, pattern=r"^[^\x00]*$")
    team: fields.Id | None = None


def of(resource: AdminResource) -> APIRouter:
    """Return the routes of `resource`."""
    router = APIRouter(prefix=f"/{resource.plural}", tags=[resource.plural])
    # By these names tools see that a team's id is what a user's team_id is about.
    one, parameter = f"/{{{resource.name}_id}}", Path(alias=f"{resource.name}_id")

    @router.post(
        "",
        name=f"create_{resource.name}",
        status_code=HTTPStatus.CREATED,
        response_model=resource.made or resource.view,
        responses=documented(HTTPStatus.CONFLICT),
    )
    async def create(
        body: resource.create,  # type: ignore[name-defined]  # It is known when FastAPI looks.
        ports: PortsDep,
        credentials: CredentialsDep,
        request: Request,
        response: Response,
    ) -> Any:
        """Create one."""
        made = await publish_after(
            ports.config, lambda: resource.make(resource, body, ports, credentials)
        )
        response.headers["Location"] = f"{request.url.path}/{made.id}"
        if resource.made:
            response.headers["Cache-Control"] = "no-store"
        return made

    @router.get(
        "", name=f"list_{resource.plural}", response_model=Page.__class_getitem__(resource.view)
    )
    async def list_(ports: PortsDep, request: Request, params: Annotated[Filters, Query()]) -> Any:
        """List them, newest first; `search` picks by name, `team` those of one team."""
        find = partial(
            resource.collection(ports.database).page,
            search=canonical(params.search),
            team=params.team,
        )
        return await page(request, params, find)

    @router.get(
        one,
        name=f"get_{resource.name}",
        response_model=resource.view,
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def get(ports: PortsDep, id_: Annotated[fields.Id, parameter]) -> Any:
        """Return one."""
        return await resource.collection(ports.database).get(id_)

    @router.patch(
        one,
        name=f"update_{resource.name}",
        response_model=resource.view,
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def update(
        body: resource.patch,  # type: ignore[name-defined]  # As above.
        ports: PortsDep,
        credentials: CredentialsDep,
        id_: Annotated[fields.Id, parameter],
    ) -> Any:
        """Replace the fields that are sent, and return the whole."""
        values = await resource.values(body, ports, credentials)
        version = getattr(body, "version", None)
        collection = resource.collection(ports.database)
        return await publish_after(
            ports.config, lambda: collection.update(id_, values, version=version)
        )

    @router.delete(
        one,
        name=f"delete_{resource.name}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def delete(ports: PortsDep, id_: Annotated[fields.Id, parameter]) -> None:
        """Delete one, and all that belongs to it."""
        collection = resource.collection(ports.database)

        async def remove() -> object:
            removed = await collection.get(id_)
            await collection.remove(id_)
            return removed

        await publish_after(ports.config, remove)

    return router
