"""What administrators do with each resource: list, read and delete it, and tell of what changes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from servicebase.pagination import Page, PageParams, page
from servicebase.values import canonical

from ... import domain, ports
from ...changes import announced
from ..credentials import Credentials, CredentialsDep
from ..dependencies import PortsDep
from ..error_handlers import documented


class Filters(PageParams):
    """Which of them."""

    # PostgreSQL knows no NUL in a text.
    search: str = Field(default="", max_length=domain.EMAIL_LENGTH, pattern=r"^[^\x00]*$")
    team: UUID | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a request changes something, and everybody is told."""

    ports: ports.Ports
    credentials: Credentials
    request: Request
    response: Response

    async def create(self, making: Callable[[], Awaitable[Any]]) -> Any:
        """Return what was made, and say where it is."""
        made = await self.change(making)
        self.response.headers["Location"] = f"{self.request.url.path}/{made.id}"
        return made

    async def change(self, changing: Callable[[], Awaitable[Any]]) -> Any:
        """Return what the change returns."""
        return await announced(self.ports.announcements, changing)


async def _desk(
    ports: PortsDep, credentials: CredentialsDep, request: Request, response: Response
) -> Desk:
    return Desk(ports, credentials, request, response)


DeskDep = Annotated[Desk, Depends(_desk)]


class Resource:
    """One resource; its own routes are `created` and `updated`, which differ by what is sent."""

    def __init__(
        self,
        name: str,
        plural: str,
        collection: Callable[[ports.Database], ports.Collection[Any, Any]],
        *,
        shown: Any,
        made: Any = None,
    ) -> None:
        self.router = APIRouter(prefix=f"/{plural}", tags=[plural])
        # By these names tools see that a team's id is what a user's team_id is about.
        one, parameter = f"/{{{name}_id}}", Path(alias=f"{name}_id")
        self.created = self.router.post(
            "",
            status_code=HTTPStatus.CREATED,
            response_model=made or shown,
            responses=documented(HTTPStatus.CONFLICT),
        )
        self.updated = self.router.patch(
            one,
            response_model=shown,
            responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        )

        @self.router.get("", name=f"list_{plural}", response_model=Page.__class_getitem__(shown))
        async def list_(
            ports: PortsDep, request: Request, params: Annotated[Filters, Query()]
        ) -> Any:
            """List them, newest first; `search` picks by name, `team` those of one team."""
            found = collection(ports.database)
            find = partial(found.page, search=canonical(params.search), team=params.team)
            return await page(request, params, find)

        @self.router.get(
            one,
            name=f"get_{name}",
            response_model=shown,
            responses=documented(HTTPStatus.NOT_FOUND),
        )
        async def get(ports: PortsDep, id_: Annotated[UUID, parameter]) -> Any:
            """Return one."""
            return await collection(ports.database).get(id_)

        @self.router.delete(
            one,
            name=f"delete_{name}",
            status_code=HTTPStatus.NO_CONTENT,
            responses=documented(HTTPStatus.NOT_FOUND),
        )
        async def delete(desk: DeskDep, id_: Annotated[UUID, parameter]) -> None:
            """Delete one, and all that belongs to it."""
            await desk.change(lambda: collection(desk.ports.database).remove(id_))
