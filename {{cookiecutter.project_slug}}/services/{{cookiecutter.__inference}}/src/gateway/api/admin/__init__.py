"""What administrators do: teams, users, keys, aliases, quotas, the config."""

from http import HTTPStatus

from fastapi import APIRouter, Depends

from ..credentials import administrator
from ..failures import documented
from . import extras, resource
from .kinds import KINDS

router = APIRouter(
    prefix="/admin",
    dependencies=[Depends(administrator)],
    responses=documented(
        HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
router.include_router(extras.router)
for kind in KINDS:
    router.include_router(resource.routes(kind))
