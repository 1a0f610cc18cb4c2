"""What only one resource has, and the config."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter

from ... import accounts, domain
from ...changes import announced
from ..dependencies import PortsDep
from ..error_handlers import documented
from ..schemas import fields, requests, responses

router = APIRouter()


@router.post(
    "/keys/{key_id}/revoke",
    tags=["keys"],
    response_model=responses.Key,
    responses=documented(HTTPStatus.NOT_FOUND),
)
async def revoke_key(ports: PortsDep, key_id: UUID) -> domain.ApiKey:
    """Make a key useless at once; what has been revoked stays so."""
    return await accounts.revoke_key(ports, await ports.database.keys.get(key_id))


@router.get(
    "/aliases/{alias_id}/versions", tags=["aliases"], responses=documented(HTTPStatus.NOT_FOUND)
)
async def list_alias_versions(ports: PortsDep, alias_id: UUID) -> list[domain.ModelAlias]:
    """Return all versions of an alias, the newest first."""
    return list(await ports.database.aliases.versions(alias_id))


@router.get("/config", tags=["config"])
async def get_config(ports: PortsDep) -> domain.Config:
    """Return the config that holds now."""
    return await ports.database.config()


@router.put("/config", tags=["config"])
async def put_config(ports: PortsDep, body: requests.ConfigBody) -> domain.Config:
    """Replace the config, everywhere within a second; return it with its version."""
    for target in body.models.values():
        fields.check_provider(ports.backends, target.provider)
    return await announced(ports.announcements, lambda: ports.database.add_config(body.config()))
