"""Admin routes: teams, users, keys, aliases, quotas and the config."""

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from servicebase.pagination import Page, PageParams, page
from servicebase.values import canonical

from .. import domain, errors
from ..ports import Ports
from .accounts import issue_key, revoke_key
from .credentials import administrator
from .dependencies import ANNOUNCED, NO_STORE, CredentialsDep, NewId, PortsDep
from .error_handlers import documented
from .schemas import Body
from .schemas import resources as schemas

router = APIRouter(
    prefix="/admin",
    dependencies=[Depends(administrator), ANNOUNCED],
    responses=documented(400, 401, 503),
)


class Filters(PageParams):
    """Pagination and filters of a list."""

    # PostgreSQL cannot store NUL in a text.
    search: str = Field(default="", max_length=domain.EMAIL_LENGTH, pattern=r"^[^\x00]*$")
    team: UUID | None = None


def _values(kind: type[Body]) -> Any:
    """Return a dependency on the values of the body to store, with the password hashed."""

    async def values(body: Body, ports: PortsDep, credentials: CredentialsDep) -> dict[str, Any]:
        values = body.model_dump(exclude_unset=True)
        if "provider" in values:
            _check_providers(ports, [values["provider"]])
        if "password" in values:
            password = values.pop("password")
            values["password_hash"] = password and await credentials.hash_password(password)
        return values

    # Set at run time, since an annotation cannot refer to a parameter.
    values.__annotations__["body"] = kind
    return Depends(values)


def _check_providers(ports: Ports, providers: Iterable[str]) -> None:
    if not ports.backends.keys() >= {*providers}:
        raise errors.InvalidError("provider", f"must be one of {', '.join(sorted(ports.backends))}")


def _add_routes(kind: schemas.Resource) -> None:
    """Add the routes that all resources have in common."""
    routes = APIRouter(prefix=f"/{kind.plural}", tags=[kind.plural])
    # With these names, tools see that a user's team_id is the id of a team.
    one, parameter = f"/{{{kind.name}_id}}", Path(alias=f"{kind.name}_id")

    @routes.get("", name=f"list_{kind.plural}", response_model=Page.__class_getitem__(kind.shown))
    async def list_(ports: PortsDep, request: Request, params: Annotated[Filters, Query()]) -> Any:
        """List all, newest first; filter by name with `search`, and by team with `team`."""
        where = {kind.team: params.team} if params.team else {}
        search = canonical(params.search)
        find = partial(kind.among(ports.database).page, search=search, where=where)
        return await page(request, params, find)

    @routes.get(one, name=f"get_{kind.name}", response_model=kind.shown, responses=documented(404))
    async def get(ports: PortsDep, id_: Annotated[UUID, parameter]) -> Any:
        """Return one by its id."""
        return await kind.among(ports.database).get(id_)

    @routes.patch(
        one, name=f"update_{kind.name}", response_model=kind.shown, responses=documented(404, 409)
    )
    async def update(
        ports: PortsDep,
        id_: Annotated[UUID, parameter],
        changes: Annotated[dict[str, Any], _values(kind.patch)],
    ) -> Any:
        """Replace the fields that are sent, and return the whole resource."""
        seen = {"version": changes.pop("version")} if "version" in changes else {}
        return await kind.among(ports.database).update(id_, changes, **seen)

    @routes.delete(one, name=f"delete_{kind.name}", status_code=204, responses=documented(404))
    async def delete(ports: PortsDep, id_: Annotated[UUID, parameter]) -> None:
        """Delete one and everything that belongs to it."""
        await kind.among(ports.database).remove(id_)

    if kind.create:

        @routes.post(
            "",
            name=f"create_{kind.name}",
            status_code=201,
            response_model=kind.shown,
            responses=documented(409),
        )
        async def create(
            ports: PortsDep, id_: NewId, values: Annotated[dict[str, Any], _values(kind.create)]
        ) -> Any:
            """Create one and return it."""
            return await kind.among(ports.database).add(id_, kind.new(**values))

    router.include_router(routes)


for resource in schemas.RESOURCES:
    _add_routes(resource)


@router.post(
    "/keys",
    tags=["keys"],
    status_code=201,
    response_model=schemas.IssuedKey,
    dependencies=[NO_STORE],
    responses=documented(409),
)
async def create_key(
    body: schemas.KeyCreate, ports: PortsDep, credentials: CredentialsDep, id_: NewId
) -> Any:
    """Create an API key for a user. The key is shown only once."""
    try:
        user = await ports.database.users.get(body.user_id)
    except errors.NotFoundError as error:
        raise errors.InvalidReferenceError("user_id") from error
    return await issue_key(ports, credentials.keys, user, body, id_)


@router.post(
    "/keys/{key_id}/revoke", tags=["keys"], response_model=schemas.Key, responses=documented(404)
)
async def revoke(ports: PortsDep, key_id: UUID) -> Any:
    """Revoke a key, effective immediately; revoking it again changes nothing."""
    return await revoke_key(ports, await ports.database.keys.get(key_id))


@router.get(
    "/aliases/{alias_id}/versions",
    tags=["aliases"],
    response_model=list.__class_getitem__(schemas.ModelAlias),
    responses=documented(404),
)
async def list_alias_versions(ports: PortsDep, alias_id: UUID) -> Any:
    """List all versions of an alias, newest first."""
    return await ports.database.aliases.versions(alias_id)


@router.get("/config", tags=["config"])
async def get_config(ports: PortsDep) -> domain.Config:
    """Return the current config."""
    return await ports.database.config()


@router.put("/config", tags=["config"])
async def put_config(ports: PortsDep, body: schemas.ConfigBody) -> domain.Config:
    """Replace the config, effective immediately; return it with its version."""
    _check_providers(ports, (target.provider for target in body.models.values()))
    return await ports.database.add_config(domain.Config(**dict(body)))
