"""Completions of chats and of texts, whole or as a stream."""

import time
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from . import answers, ratelimits, schemas, streaming
from .failures import documented
from .keys import Bearer, hash_of

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


def _answers(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that answers with this, or with a stream of pieces."""
    stream = {"schema": {"type": "string"}}
    return {200: {"model": model, "content": {streaming.MEDIA_TYPE: stream}}}


@router.post("/chat/completions", responses=_answers(answers.ChatCompletion))
async def chat(body: schemas.ChatRequest, bearer: Bearer, request: Request) -> Response:
    """Answer a chat."""
    return await _answer(body, bearer, request, answers.ChatAnswers)


@router.post("/completions", responses=_answers(answers.TextCompletion))
async def text(body: schemas.CompletionRequest, bearer: Bearer, request: Request) -> Response:
    """Go on with a text."""
    return await _answer(body, bearer, request, answers.TextAnswers)


async def _answer(
    body: schemas.ChatRequest | schemas.CompletionRequest,
    bearer: Bearer,
    request: Request,
    kind: type[answers.Answers],
) -> Response:
    state = request.app.state
    turn = await state.completing.admit(hash_of(bearer, state), body.question())
    headers = ratelimits.headers(turn.order.limits, turn.admission)
    answer = kind(body.model, int(time.time()), include_usage=body.include_usage())
    if body.stream:
        return streaming.EventStream(turn, answer.events, state.metrics, headers)
    try:
        content = answer.whole(await turn.complete())
    finally:
        await turn.close()
    return Response(content, headers=headers, media_type="application/json")
