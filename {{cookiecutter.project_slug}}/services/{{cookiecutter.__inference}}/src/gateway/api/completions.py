"""Completions of chats and of texts, whole or as a stream."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from . import ratelimits, streaming
from .connection import connected
from .error_handlers import documented
from .json import JsonResponse
from .keys import KeyHash
from .schemas.completion_requests import ChatRequest, CompletionRequest
from .schemas.completion_responses import (
    ChatCompletion,
    ChatEncoder,
    Encoder,
    TextCompletion,
    TextEncoder,
)

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


def _page(answer: object) -> dict[str, Any]:
    """Return what the OpenAPI page says of a route that answers whole, or with a stream."""
    event = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
    stream = {streaming.MEDIA_TYPE: {"schema": event}}
    return {
        "responses": {HTTPStatus.OK: {"model": answer, "content": stream}},
    }


@router.post("/chat/completions", **_page(ChatCompletion))
async def chat(request: Request, body: ChatRequest, key_hash: KeyHash) -> Response:
    """Answer a chat."""
    return await _answer(request, body, key_hash, ChatEncoder)


@router.post("/completions", **_page(TextCompletion))
async def text(request: Request, body: CompletionRequest, key_hash: KeyHash) -> Response:
    """Go on with a text."""
    return await _answer(request, body, key_hash, TextEncoder)


async def _answer(
    request: Request, body: ChatRequest | CompletionRequest, key_hash: str, encoder: type[Encoder]
) -> Response:
    state = request.app.state
    admitted = await state.completions.admit(key_hash, body.request())
    headers = ratelimits.headers(admitted.request.limits, admitted.admission)
    created = int(state.ports.clock.now().timestamp())
    answer = encoder(body.model, created, include_usage=body.include_usage())
    if body.stream:
        return streaming.EventStream(admitted, answer.events, state.metrics, headers)
    try:
        async with connected(request.receive):
            content = answer.whole(await admitted.complete())
    finally:
        await admitted.close()
    return JsonResponse(content, headers=headers)
