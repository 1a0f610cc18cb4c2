"""Completions of chats and of texts, whole or as a stream."""

from http import HTTPStatus
from typing import Any, get_args

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from . import ratelimits, streaming
from .error_handlers import documented
from .keys import SCHEME, hash_of
from .schemas import completion_requests, completion_responses

router = APIRouter(
    prefix="/v1",
    tags=["completions"],
    responses=documented(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)


Body = completion_requests.ChatRequest | completion_requests.CompletionRequest
BODIES = get_args(Body)
"""What the OpenAPI page has to be told, since FastAPI does not read them."""


def _page(body: type[BaseModel], answer: type[BaseModel]) -> dict[str, Any]:
    """Return what the OpenAPI page says of a route that answers whole, or with a stream."""
    reference = {"$ref": f"#/components/schemas/{body.__name__}"}
    return {
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": reference}},
            },
            "security": [{SCHEME: []}],
        },
        "responses": {
            200: {
                "model": answer,
                "content": {streaming.MEDIA_TYPE: {"schema": {"type": "string"}}},
            }
        },
    }


@router.post(
    "/chat/completions",
    **_page(completion_requests.ChatRequest, completion_responses.ChatCompletion),
)
async def chat(request: Request) -> Response:
    """Answer a chat."""
    return await _answer(request, completion_requests.ChatRequest, completion_responses.ChatEncoder)


@router.post(
    "/completions",
    **_page(completion_requests.CompletionRequest, completion_responses.TextCompletion),
)
async def text(request: Request) -> Response:
    """Go on with a text."""
    return await _answer(
        request, completion_requests.CompletionRequest, completion_responses.TextEncoder
    )


async def _read(request: Request, kind: type[Body]) -> Body:
    """Return the body, read in one step: FastAPI's three cost a request a tenth of all.

    Raises:
        RequestValidationError: it is no JSON, or breaks a rule.
    """
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> RequestValidationError:
    """Return the error of FastAPI that says the same."""
    return RequestValidationError(
        [dict(wrong, loc=("body", *wrong["loc"])) for wrong in error.errors()]
    )


async def _answer(
    request: Request, schema: type[Body], encoder: type[completion_responses.Encoder]
) -> Response:
    state = request.app.state
    # First, so that who shows no key is told so, whatever the body is.
    key_hash = hash_of(request)
    body = await _read(request, schema)
    admitted = await state.completions.admit(key_hash, body.request())
    headers = ratelimits.headers(admitted.request.limits, admitted.admission)
    created = int(state.ports.clock.now().timestamp())
    answer = encoder(body.model, created, include_usage=body.include_usage())
    if body.stream:
        return streaming.EventStream(admitted, answer.events, state.metrics, headers)
    try:
        content = answer.whole(await admitted.complete())
    finally:
        await admitted.close()
    return Response(content, headers=headers, media_type="application/json")
