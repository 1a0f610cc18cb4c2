"""Errors in the shape of OpenAI's API, whoever raised them."""

import json
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from itertools import takewhile
from typing import Any, NamedTuple

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from .. import errors
from . import ratelimits

MEDIA_TYPE = "application/json"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CONTENT_TOO_LARGE = 413
REQUEST, SERVER = "invalid_request_error", "server_error"

# What pydantic calls a branch of a union: a field has no such name.
_BRANCH = re.compile(r"\[|^(constrained-)?str$")

log = structlog.get_logger("error_handlers")


class ErrorSpec(NamedTuple):
    """How an error is answered. Official clients choose their exception by the status."""

    status: HTTPStatus
    type: str
    code: str


ERROR_SPECS: dict[type[errors.ServiceError], ErrorSpec] = {
    errors.InvalidError: ErrorSpec(HTTPStatus.BAD_REQUEST, REQUEST, "invalid_value"),
    errors.InvalidIdError: ErrorSpec(HTTPStatus.BAD_REQUEST, REQUEST, "invalid_id"),
    errors.InvalidReferenceError: ErrorSpec(HTTPStatus.BAD_REQUEST, REQUEST, "invalid_reference"),
    errors.CredentialError: ErrorSpec(HTTPStatus.UNAUTHORIZED, REQUEST, "invalid_api_key"),
    errors.NotFoundError: ErrorSpec(HTTPStatus.NOT_FOUND, REQUEST, "not_found"),
    errors.UnknownModelError: ErrorSpec(HTTPStatus.NOT_FOUND, REQUEST, "model_not_found"),
    errors.ConflictError: ErrorSpec(HTTPStatus.CONFLICT, REQUEST, "conflict"),
    errors.VersionConflictError: ErrorSpec(HTTPStatus.CONFLICT, REQUEST, "version_conflict"),
    errors.RateLimitedError: ErrorSpec(
        HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded"
    ),
    errors.ThrottledError: ErrorSpec(
        HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded"
    ),
    errors.BudgetError: ErrorSpec(
        HTTPStatus.TOO_MANY_REQUESTS, "insufficient_quota", "insufficient_quota"
    ),
    errors.BackendError: ErrorSpec(HTTPStatus.BAD_GATEWAY, SERVER, "backend_error"),
    errors.OverloadedError: ErrorSpec(HTTPStatus.SERVICE_UNAVAILABLE, SERVER, "overloaded"),
    errors.UnavailableError: ErrorSpec(HTTPStatus.SERVICE_UNAVAILABLE, SERVER, "unavailable"),
    errors.UnreadableError: ErrorSpec(HTTPStatus.SERVICE_UNAVAILABLE, SERVER, "unreadable"),
}


class Error(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """The field or parameter that is wrong, if it is one."""
    code: str | None


class Failure(BaseModel):
    """What clients get in place of a result."""

    error: Error


def body(message: str, type_: str, code: str, param: str | None = None) -> bytes:
    """Return a Failure as JSON."""
    error = {"message": message, "type": type_, "param": param, "code": code}
    # ASCII: what a client sent may hold half a surrogate pair, which UTF-8 cannot carry.
    return json.dumps({"error": error}).encode()


def body_of(error: errors.ServiceError) -> bytes:
    """Return the Failure that tells of `error`."""
    _, type_, code = ERROR_SPECS[type(error)]
    return body(str(error), type_, code, getattr(error, "field", None))


def response(
    status: HTTPStatus,
    message: str | None = None,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer that no error of ours stands for; by default the code is the status."""
    type_ = SERVER if status >= HTTPStatus.INTERNAL_SERVER_ERROR else REQUEST
    content = body(message or status.phrase, type_, code or status.name.lower(), param)
    return Response(content, status.value, headers, MEDIA_TYPE)


def unavailable(message: str) -> Response:
    """Return the answer that tells which servers are down."""
    return response(HTTPStatus.SERVICE_UNAVAILABLE, message, code="unavailable")


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may end in these, for its OpenAPI page."""
    return {status: {"description": status.phrase, "model": Failure} for status in statuses}


def install(app: FastAPI) -> None:
    """Answer every error that `app` knows of with a Failure; middleware.py answers the others."""
    app.exception_handler(errors.ServiceError)(_service_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_error)


# Coroutines although they wait for nothing: a plain function would be sent to a thread.


async def _service_error(request: Request, error: errors.ServiceError) -> Response:
    request.app.state.metrics.failures.labels(ERROR_SPECS[type(error)].code).inc()
    headers = {}
    match error:
        case errors.CredentialError():
            headers["WWW-Authenticate"] = "Bearer"
        case errors.RateLimitedError(limits=limits, admission=admission):
            headers = ratelimits.headers(limits, admission)
            headers["Retry-After"] = _seconds(admission.retry_after)
        case errors.ThrottledError(retry_after=wait):
            headers["Retry-After"] = _seconds(wait)
        case errors.OverloadedError():
            headers["Retry-After"] = "1"
        case errors.UnavailableError(server=server):
            headers["Retry-After"] = "1"
            # The client is not told why, so the log has to.
            log.warning("unavailable", server=server, cause=repr(error.__cause__))
    return Response(body_of(error), ERROR_SPECS[type(error)].status.value, headers, MEDIA_TYPE)


def _seconds(wait: float) -> str:
    return str(max(1, math.ceil(wait)))


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    """Answer with the first thing that is wrong: the shape has room for one."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return response(HTTPStatus.BAD_REQUEST, "the body is no JSON", code="invalid_json")
    cause = first.get("ctx", {}).get("error")
    place = _place(first["loc"])
    # Without the value, which may be a secret.
    message = f"{place or 'the body'}: {first['msg']}"
    if isinstance(cause, errors.InvalidError):
        place, message = place or cause.field, str(cause)
    return response(HTTPStatus.BAD_REQUEST, message, code="invalid_value", param=place or None)


async def _http_error(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    # What http.HTTPStatus calls it depends on the version of Python.
    code = "content_too_large" if error.status_code == CONTENT_TOO_LARGE else None
    return response(HTTPStatus(error.status_code), error.detail, code=code, headers=headers)


def _allowed(request: Request) -> list[str]:
    """Return the methods that a path takes, of which Starlette knows only its first route's."""
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def _place(location: tuple[str | int, ...]) -> str:
    """Return a place in a request as OpenAI's API writes it, such as `messages[0].role`."""
    # Without the branches of a union, which pydantic puts into the path as well.
    steps = takewhile(lambda step: not _BRANCH.search(str(step)), location[1:])
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".")
