"""Completions of chats and of texts, whole or as a stream."""

from http import HTTPStatus
from typing import Any, get_args

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from . import answers, ratelimits, schemas, streaming
from .failures import documented
from .keys import SCHEME, hash_of

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


Body = schemas.ChatRequest | schemas.CompletionRequest
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


@router.post("/chat/completions", **_page(schemas.ChatRequest, answers.ChatCompletion))
async def chat(request: Request) -> Response:
    """Answer a chat."""
    return await _answer(request, schemas.ChatRequest, answers.ChatAnswers)


@router.post("/completions", **_page(schemas.CompletionRequest, answers.TextCompletion))
async def text(request: Request) -> Response:
    """Go on with a text."""
    return await _answer(request, schemas.CompletionRequest, answers.TextAnswers)


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


async def _answer(request: Request, asked: type[Body], kind: type[answers.Answers]) -> Response:
    state = request.app.state
    # First, so that who shows no key is told so, whatever the body is.
    key_hash = hash_of(request)
    body = await _read(request, asked)
    turn = await state.completing.admit(key_hash, body.question())
    headers = ratelimits.headers(turn.order.limits, turn.admission)
    created = int(state.ports.clock.now().timestamp())
    answer = kind(body.model, created, include_usage=body.include_usage())
    if body.stream:
        return streaming.EventStream(turn, answer.events, state.metrics, headers)
    try:
        content = answer.whole(await turn.complete())
    finally:
        await turn.close()
    return Response(content, headers=headers, media_type="application/json")
