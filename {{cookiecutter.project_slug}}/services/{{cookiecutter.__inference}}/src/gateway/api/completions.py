"""Routes of chat and text completions, whole or streamed."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from . import streaming
from .credentials import ApiKey, api_key
from .error_handlers import EVERYWHERE, documented, quota_headers
from .schemas import completions as schemas


class KeyFirstRoute(APIRoute):
    """Route that checks the API key before it reads the body; FastAPI would read the body first.

    FastAPI's handling of an endpoint would also cost a completion a fifth more CPU.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the request handler."""
        answer = self.endpoint
        kind: type[BaseModel] = answer.__annotations__["body"]

        async def serve(request: Request) -> Response:
            key = await api_key(request)
            concurrency = request.app.state.completions.concurrency
            # Bodies are large: the limit on a team's concurrent requests also applies to uploads.
            concurrency.take(key.team_id)
            try:
                body = kind.model_validate_json(await request.body())
            except ValidationError as error:
                wrong = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
                raise RequestValidationError(wrong) from None
            finally:
                concurrency.free(key.team_id)
            response: Response = await answer(request, body, key)
            return response

        return serve


router = APIRouter(
    prefix="/v1",
    tags=["completions"],
    route_class=KeyFirstRoute,
    responses=EVERYWHERE | documented(400, 401, 404, 429, 502, 503),
)


def _page(answer: object) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that answers with JSON or with a stream."""
    event = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
    return {200: {"model": answer, "content": {streaming.MEDIA_TYPE: {"schema": event}}}}


@router.post("/chat/completions", responses=_page(schemas.ChatCompletion))
async def chat(request: Request, body: schemas.ChatRequest, key: ApiKey) -> Response:
    """Create a chat completion."""
    return await _answer(request, body, key, schemas.ChatEncoder)


@router.post("/completions", responses=_page(schemas.TextCompletion))
async def text(request: Request, body: schemas.CompletionRequest, key: ApiKey) -> Response:
    """Create a text completion."""
    return await _answer(request, body, key, schemas.TextEncoder)


async def _answer(
    request: Request,
    body: schemas.ChatRequest | schemas.CompletionRequest,
    key: ApiKey,
    encoder: type[schemas.TextEncoder],
) -> Response:
    state = request.app.state
    admitted = await state.completions.admit(key.hash, body.inference())
    headers = quota_headers(admitted.request.limits, admitted.admission)
    created = int(state.ports.clock.now().timestamp())
    told = body.stream_options is not None and body.stream_options.include_usage
    answer = encoder(body.model, created, include_usage=told)
    if body.stream:
        return streaming.EventStream(admitted, answer.events, headers)
    try:
        completion = await streaming.while_connected(request.receive, admitted.complete())
    finally:
        await admitted.close()
    whole = to_json(answer.whole(completion))
    return Response(whole, headers=headers, media_type="application/json")
