"""Responses to all errors, as problem+json (RFC 9457)."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from . import errors

MEDIA_TYPE = "application/problem+json"
Statuses = Mapping[type[errors.ServiceError], HTTPStatus]

STATUSES: Statuses = {
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvalidReferenceError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.KeyReusedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}

log = structlog.get_logger("problem")


class Problem(BaseModel):
    """Body of an error response."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[dict[str, str]] | None = None
    """Invalid values: the `detail` of each, and a `pointer` into the body or a `parameter`."""
    request_id: str | None = None


def response(
    status: HTTPStatus,
    detail: str | None = None,
    *,
    errors: Sequence[dict[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the response for a problem."""
    problem = Problem(
        title=status.phrase,
        status=status,
        detail=detail,
        errors=list(errors) or None,
        request_id=structlog.contextvars.get_contextvars().get("request_id"),
    )
    # ASCII: a client may have sent lone surrogates, which UTF-8 cannot encode.
    content = json.dumps(problem.model_dump(exclude_none=True))
    return Response(content, status.value, headers, MEDIA_TYPE)


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` argument of a route that may return these problems, for OpenAPI."""
    # Not a `model`, which FastAPI would document as application/json.
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": status.phrase, "content": content} for status in statuses}


def install(app: FastAPI, own: Statuses = MappingProxyType({})) -> None:
    """Answer every error that `app` handles with a problem; middleware.py answers the others.

    `own` has the statuses of the service's own errors. An error without one has its base's.
    """
    statuses = {**STATUSES, **own}

    async def service_error(_: Request, error: errors.ServiceError) -> Response:
        status = next(statuses[kind] for kind in type(error).__mro__ if kind in statuses)
        field = getattr(error, "field", None)
        details = [{"detail": str(error), "pointer": f"#/{field}"}] if field else []
        headers = {}
        if isinstance(error, errors.UnavailableError):
            headers["Retry-After"] = "1"
            # The client does not see the cause, so log it.
            log.warning("unavailable", server=error.server, cause=repr(error.__cause__))
        return response(status, str(error), errors=details, headers=headers)

    app.exception_handler(errors.ServiceError)(service_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_error)


# Coroutines although they await nothing: a plain function would run in a thread.


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    return response(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "the request is not valid",
        errors=[_detail(each) for each in error.errors()],
    )


async def _http_error(_: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    detail = error.detail if error.detail != status.phrase else None
    return response(status, detail, headers=error.headers)


def _detail(error: Mapping[str, Any]) -> dict[str, str]:
    """Return pydantic's error about a value, without the value, which may be a secret."""
    where, *path = error["loc"]
    if error["type"] == "json_invalid":
        path = []  # It is an offset in the text, not a path.
    cause = error.get("ctx", {}).get("error")
    detail = str(cause) if isinstance(cause, ValueError) else error["msg"]
    if where != "body":
        return {"detail": detail, "parameter": ".".join(map(str, path))}
    # The two escapes of RFC 6901.
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path]
    return {"detail": detail, "pointer": "/".join(["#", *steps])}
