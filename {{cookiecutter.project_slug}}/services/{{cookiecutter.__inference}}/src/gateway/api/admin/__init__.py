"""What administrators do: teams, users, keys, aliases, quotas, the config."""

from http import HTTPStatus

from fastapi import APIRouter, Depends

from ..credentials import administrator
from ..error_handlers import documented
from . import extras
from .resources import RESOURCES

router = APIRouter(
    prefix="/admin",
    dependencies=[Depends(administrator)],
    responses=documented(
        HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
router.include_router(extras.router)
for resource in RESOURCES:
    router.include_router(resource.router)
