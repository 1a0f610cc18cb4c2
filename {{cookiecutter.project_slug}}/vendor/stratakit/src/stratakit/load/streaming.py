"""Answers that come token by token, as server-sent events: for the scenarios of load tests.

    from stratakit.load import streaming

    text = streaming.post(self.client, "/v1/answers", json={..., "stream": True})

FastHttpUser clocks what is streamed to its head alone. Here the request counts to its last byte;
besides, the time to the first token is an event `ttft` of Locust's, that from each token to the
next one an event `itl`. A stream that does not end with `[DONE]` has failed: it was cut off.
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
        client: that of a FastHttpUser.
        url: where.
        name: how the request is called among the others; by default as its URL.
        headers: of the request.
        options: as of `client.post`, such as `json`.
    """
    # What is compressed comes in blocks, and not when it was made.
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
            # Not `iter_content`, nor the stream's own iterator: they wait until a block is full.
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
    """Return the text that a piece of an answer adds to it: of a chat, or of a completion."""
    choices = json.loads(data).get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or choices[0].get("text") or "")
