"""Streamed responses, token by token as server-sent events, for load test scenarios.

    from stratakit.load import streaming

    text = streaming.post(self.client, "/v1/answers", json={..., "stream": True})

FastHttpUser times streamed responses only up to their headers. Here the request is timed to its
last byte; the first token also fires a Locust event `ttft` with its time, and each later one an
event `itl`. A stream that does not end with `[DONE]` was cut off, and counts as failed.
"""

import json
import time
from http import HTTPStatus
from typing import Any

from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, FastHttpSession

from .samples import ITL, TTFT

DONE = b"[DONE]"


def post(
    client: FastHttpSession,
    url: str,
    *,
    name: str | None = None,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> str:
    """Make a request, read its events, and return the text of all tokens.

    Args:
        client: the client of a FastHttpUser.
        url: the URL, or its path.
        name: the name of the request in the results; by default its URL.
        headers: headers of the request.
        options: options of `client.post`, such as `json`.
    """
    # Compression would deliver tokens in blocks instead of one by one.
    plain = {"Accept-Encoding": "identity", **(headers or {})}
    texts: list[str] = []
    done = False
    begun = last = time.perf_counter()
    with client.post(
        url, name=name, headers=plain, stream=True, catch_response=True, **options
    ) as response:
        if response.status_code != HTTPStatus.OK:
            return ""
        meta = response.request_meta
        try:
            # Not `iter_content` or the stream's own iterator, which wait until a block is full.
            while line := response.stream.readline(b"\n"):
                if not line.startswith(b"data:"):
                    continue
                data = line.removeprefix(b"data:").strip()
                now = time.perf_counter()
                done = data == DONE
                if not done and (text := _text(data)):
                    client.request_event.fire(
                        request_type=ITL if texts else TTFT,
                        name=f"POST {name or url}",
                        response_time=(now - last) * 1000,
                        response_length=len(text),
                        exception=None,
                        context={},
                        start_time=meta["start_time"],
                    )
                    texts.append(text)
                    last = now
            if not done:
                response.failure("the stream ended without [DONE]")
        except FAILURE_EXCEPTIONS as error:
            response.failure(f"the stream broke off: {type(error).__name__}")
        meta["response_time"] = (time.perf_counter() - begun) * 1000
        meta["response_length"] = len("".join(texts))
    return "".join(texts)


def _text(data: bytes) -> str:
    """Return the text in a chunk of a chat or a completion."""
    choices = json.loads(data).get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or choices[0].get("text") or "")
