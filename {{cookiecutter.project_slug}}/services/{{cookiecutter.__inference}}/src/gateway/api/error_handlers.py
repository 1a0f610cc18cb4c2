"""Error responses in the format of OpenAI's API, whatever raised the error."""

import json
import math
import re
from collections.abc import Mapping
from functools import partial
from http import HTTPMethod, HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from typing_extensions import TypedDict

from .. import domain, errors
from ..metrics import Metrics
from ..ports import Admission

CODES = {
    # FastAPI answers 400 to a body that cannot be decoded or is nested too deeply.
    400: "invalid_json",
    # Its name in http.HTTPStatus depends on the version of Python.
    413: "content_too_large",
    503: "unavailable",
}
"""Codes that are not the name of the status, for errors without a ServiceError."""
JSON = re.compile(r"application/(.+\+)?json\b", re.ASCII)

# pydantic's names for the branches of a union; no field has such a name.
_BRANCH = re.compile(r"\[|^(constrained-)?str$|Part$")

log = structlog.get_logger("error_handlers")

TYPES = {
    (429, "insufficient_quota"): "insufficient_quota",
    (429, "rate_limit_exceeded"): "rate_limit_error",
}
"""OpenAI's error types for these; for all others the status alone decides, not a backend's code."""
ANSWERS: dict[type[errors.ServiceError], tuple[int, str]] = {
    errors.InvalidError: (400, "invalid_value"),
    errors.InvalidReferenceError: (400, "invalid_reference"),
    errors.QuotaError: (400, "request_too_large"),
    errors.RefusedError: (400, "refused"),
    errors.UnsupportedError: (400, "unsupported_parameter"),
    errors.CredentialError: (401, "invalid_api_key"),
    errors.RegistrationClosedError: (403, "registration_closed"),
    errors.NotFoundError: (404, "not_found"),
    errors.UnknownModelError: (404, "model_not_found"),
    errors.ConflictError: (409, "conflict"),
    errors.VersionConflictError: (409, "version_conflict"),
    errors.RateLimitedError: (429, "rate_limit_exceeded"),
    errors.ThrottledError: (429, "rate_limit_exceeded"),
    errors.BudgetError: (429, "insufficient_quota"),
    errors.BackendError: (502, "backend_error"),
    errors.OverloadedError: (503, "overloaded"),
    errors.UnavailableError: (503, "unavailable"),
    errors.UnreadableError: (503, "unreadable"),
}
"""Status and code of each error. Official clients choose their exception by the status."""


class Error(TypedDict):
    """Details of an error."""

    message: str
    type: str
    param: str | None
    """Field or parameter that is invalid, if there is one."""
    code: str | None


class Failure(TypedDict):
    """Error response."""

    error: Error


def response(
    status: int,
    message: str | None = None,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error response; by default, the status decides the code and the type."""
    known = HTTPStatus(status)
    code = code or CODES.get(status, known.name.lower())
    server = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    type_ = TYPES.get((status, code), "server_error" if server else "invalid_request_error")
    error = {"message": message or known.phrase, "type": type_, "param": param, "code": code}
    # ASCII: it may quote a lone surrogate, which UTF-8 cannot encode.
    return Response(json.dumps({"error": error}), status, headers, "application/json")


unavailable = partial(response, HTTPStatus.SERVICE_UNAVAILABLE)
"""Factory of the 503 response if servers are down, or if this process is stopping."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may fail with these, for its OpenAPI page."""
    return {each: {"description": HTTPStatus(each).phrase, "model": Failure} for each in statuses}


EVERYWHERE = {
    # From BodyLimit, on any route.
    **documented(413),
    # FastAPI documents it by default.
    422: {"description": "Never returned: invalid values are answered with 400."},
}
"""`responses` of all routes."""


def install(app: FastAPI) -> None:
    """Answer the errors that `app` handles with a Failure; middleware.py answers all others."""
    app.exception_handler(errors.ServiceError)(_service_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_error)


def quota_headers(limits: domain.Limits, admission: Admission) -> dict[str, str]:
    """Return the rate limit headers of OpenAI's API for a request that was counted or refused."""
    return {
        "x-ratelimit-limit-requests": str(limits.requests),
        "x-ratelimit-limit-tokens": str(limits.tokens),
        "x-ratelimit-remaining-requests": str(admission.requests_left),
        "x-ratelimit-remaining-tokens": str(admission.tokens_left),
        "x-ratelimit-reset-requests": f"{admission.requests_reset:.3f}s",
        "x-ratelimit-reset-tokens": f"{admission.tokens_reset:.3f}s",
    }


def failure(error: errors.ServiceError, metrics: Metrics) -> Response:
    """Count an error of the service, and return its response."""
    status, code = ANSWERS[type(error)]
    metrics.failures.labels(code).inc()
    headers: dict[str, str] = {}
    if wait := getattr(error, "retry_after", None):
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    match error:
        case errors.CredentialError():
            headers["WWW-Authenticate"] = "Bearer"
        case errors.RateLimitedError(limits=limits, admission=admission):
            headers |= quota_headers(limits, admission)
        case errors.BackendError(final=True):
            # OpenAI's clients retry a 502 unless told not to.
            headers["X-Should-Retry"] = "false"
        case errors.UnavailableError(server=server):
            # The client does not get the cause, so log it.
            log.warning("unavailable", server=server, cause=repr(error.__cause__))
    code, param = getattr(error, "code", None) or code, getattr(error, "field", None)
    return response(status, str(error), code=code, param=param, headers=headers)


# Coroutines, although they await nothing: FastAPI would run plain functions in threads.


async def _service_error(request: Request, error: errors.ServiceError) -> Response:
    return failure(error, request.app.state.completions.metrics)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    """Answer with the first error: OpenAI's format has room for only one."""
    found = error.errors()
    place = _place(found[0]["loc"])
    # Each branch of a union reports its own errors: assume the one that matched furthest.
    first = max(
        (each for each in found if _place(each["loc"]).startswith(place)),
        key=lambda each: (not each["type"].endswith("_type"), len(each["loc"])),
    )
    wrong = partial(response, HTTPStatus.BAD_REQUEST)
    if first["type"] == "json_invalid":
        return wrong(f"the body is not valid JSON: {first['ctx']['error']}")
    if first["loc"] == ("body",) and not JSON.match(request.headers.get("Content-Type", "")):
        message = "the body must be JSON, with the header `Content-Type: application/json`"
        return wrong(message, code="invalid_content_type")
    place, cause = _place(first["loc"]), first.get("ctx", {}).get("error")
    # Without the value, which may be a secret.
    message = f"{place or 'the body'}: {first['msg']}"
    if isinstance(cause, errors.InvalidError):
        place, message = place or cause.field, str(cause)
    return wrong(message, code="invalid_value", param=place or None)


async def _http_error(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    deep = isinstance(error.__cause__, RecursionError)
    message = "the body is nested too deeply" if deep else error.detail
    return response(error.status_code, message, headers=headers)


def _allowed(request: Request) -> list[str]:
    """Return the methods allowed on a path; Starlette knows only those of its first route."""
    scopes = {method: {**request.scope, "method": method} for method in HTTPMethod}
    routes = request.app.routes
    return [m for m in scopes if any(r.matches(scopes[m])[0] is Match.FULL for r in routes)]


def _place(location: tuple[str | int, ...]) -> str:
    """Return a location in a request in OpenAI's notation, such as `messages[0].role`."""
    # Without the branches of unions, which pydantic includes in the location.
    steps = (step for step in location[1:] if not _BRANCH.search(str(step)))
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".")
