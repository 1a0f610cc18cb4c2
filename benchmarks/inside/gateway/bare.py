"""A no-op FastAPI application, served as the gateway is: `bare.py PORT`.

It reads a body and returns a constant response, whole or streamed.
"""

import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from clients import STREAMED
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()
ANSWER = {
    "id": "chatcmpl-0",
    "object": "chat.completion",
    "created": 0,
    "model": "own",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "as it was said"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8},
}
PIECE = (
    b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","created":0,"model":"own",'
    b'"choices":[{"index":0,"delta":{"content":"said "},"finish_reason":null}]}\n\n'
)


@app.post("/whole")
async def whole(body: dict[str, Any]) -> dict[str, Any]:
    """Return the whole response."""
    return ANSWER


@app.post("/stream")
async def stream(body: dict[str, Any]) -> StreamingResponse:
    """Stream the response."""
    return StreamingResponse(pieces(), media_type="text/event-stream")


async def pieces() -> AsyncIterator[bytes]:
    """Yield as many events as the gateway does."""
    for _ in range(STREAMED):
        yield PIECE
    yield b"data: [DONE]\n\n"


@app.get("/health/ready")
async def ready() -> None:
    """Return once the application is serving."""


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False)
