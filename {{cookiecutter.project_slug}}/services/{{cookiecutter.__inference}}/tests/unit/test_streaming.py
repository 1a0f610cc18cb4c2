"""Streams: their framing, and the ways in which they end."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from starlette.types import Message
from structlog.typing import EventDict

from stratakit.testing import eventually

from gateway import domain, errors
from gateway.api.streaming import DONE
from gateway.ports import Chunk

from .conftest import BODIES, CHAT, TEXT, Customer

Object = dict[str, Any]
HEAD = ("id", "created", "object", "model")


@dataclass
class Connection:
    """Request in flight, which a test can inspect, disconnect or cancel."""

    customer: Customer
    stream: bool = True
    sent: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        body = json.dumps(BODIES[CHAT] | {"stream": self.stream}).encode()
        self._received.put_nowait({"type": "http.request", "body": body, "more_body": False})
        headers = [(name.lower(), value) for name, value in self.customer.client.headers.raw]
        scope = {"type": "http", "method": "POST", "path": CHAT, "query_string": b""}
        app = self.customer.app({**scope, "headers": headers}, self._received.get, self._send)
        self.served = asyncio.create_task(app)

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    def hang_up(self) -> None:
        """Disconnect the client."""
        self._received.put_nowait({"type": "http.disconnect"})

    def stop(self) -> None:
        """Cancel the request, as a shutdown does after its grace period."""
        self.served.cancel()


def data(response: httpx2.Response) -> tuple[Object, list[Object]]:
    """Return the fields that all events share, and the others of each, without the last, [DONE]."""
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: ") and len(event.splitlines()) == 1 for event in events)
    found = [json.loads(event.removeprefix("data: ")) for event in events]
    heads = [{name: each.pop(name) for name in HEAD} for each in found]
    assert heads == [heads[0]] * len(heads)
    return heads[0], found


DELTAS = [{"role": "assistant", "content": "one"}, {"content": " two"}, {}]


@pytest.mark.parametrize(
    ("path", "kind", "pieces"),
    [
        (CHAT, "chat.completion.chunk", [{"delta": each} for each in DELTAS]),
        (TEXT, "text_completion", [{"text": each} for each in ("one", " two", "")]),
    ],
)
async def test_a_stream_sends_chunks_and_at_last_the_usage_if_requested(
    customer: Customer, path: str, kind: str, pieces: list[Object]
) -> None:
    response = await customer.post(path, stream=True)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-ratelimit-limit-requests"]
    assert "content-length" not in response.headers
    head, events = data(response)
    assert (head["object"], head["model"]) == (kind, "mine")
    ends = [{"index": 0, "logprobs": None, "finish_reason": each} for each in (None, None, "stop")]
    told = [{"choices": [piece | end]} for piece, end in zip(pieces, ends, strict=True)]
    assert events == told
    _, events = data(await customer.post(path, stream=True, stream_options={"include_usage": True}))
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert events == [*({**each, "usage": None} for each in told), {"choices": [], "usage": usage}]


async def test_deltas_of_tool_calls_and_choices_are_passed_on(customer: Customer) -> None:
    begin, end = ({"tool_calls": [{"index": 0, **more}]} for more in ({"id": "1"}, {"type": "x"}))
    likely: Object = {"content": []}
    customer.world.backend.script = [
        Chunk("", more=begin),
        Chunk("two\u2028", index=1, logprobs=likely),
        Chunk("", more=end),
        Chunk("", "tool_calls"),
        Chunk("", "stop", index=2),
        Chunk("", "content_filter", domain.Usage(3, 2), 1),
    ]
    _, events = data(await customer.post(stream=True))
    names = ("index", "delta", "finish_reason", "logprobs")
    assert [tuple(event["choices"][0][name] for name in names) for event in events] == [
        (0, {"role": "assistant", "content": None, **begin}, None, None),
        (1, {"role": "assistant", "content": "two\u2028"}, None, likely),
        (0, end, None, None),
        (0, {}, "tool_calls", None),
        (2, {"role": "assistant", "content": ""}, "stop", None),
        (1, {}, "content_filter", None),
    ]


async def test_an_error_after_the_first_chunk_is_the_last_event_and_the_chunks_are_charged(
    customer: Customer, lines: list[EventDict]
) -> None:
    await customer.pay()
    broken = errors.BackendError("scripted", "the answer broke off")
    customer.world.backend.script = [Chunk("one"), broken]
    response = await customer.post(stream=True)
    assert response.status_code == 200
    _, last, rest = response.text.split("\n\n")
    assert rest == ""
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "backend_error"
    assert DONE.decode() not in response.text
    assert [line["event"] for line in lines] == ["broken off", "request"]
    # The prompt's bound of ten, and a chunk.
    assert await customer.spent() == 11 * 7


async def test_a_late_crash_aborts_the_stream(customer: Customer, lines: list[EventDict]) -> None:
    customer.world.backend.script = [Chunk("one"), ZeroDivisionError()]
    connection = Connection(customer)
    with pytest.raises(ZeroDivisionError):
        await connection.served
    assert connection.sent[-1]["more_body"]
    assert customer.app.state.completions.concurrency.taken == 0


# Whether a chunk was sent, whether a stream was requested, and the tokens to charge.
@pytest.mark.parametrize(
    ("begun", "stream", "tokens"), [(True, True, 11), (False, True, 0), (False, False, 10)]
)
@pytest.mark.parametrize("end", [Connection.hang_up, Connection.stop])
@pytest.mark.usefixtures("lines")
async def test_a_disconnect_or_shutdown_stops_the_backend_frees_the_slot_and_charges_the_usage(
    customer: Customer, end: Callable[[Connection], None], *, begun: bool, stream: bool, tokens: int
) -> None:
    await customer.pay()
    backend, state, stopped = customer.world.backend, customer.app.state, end is Connection.stop
    backend.pauses[int(begun)] = asyncio.Event()
    connection = Connection(customer, stream)
    await eventually(lambda: len(connection.sent) == 2 if begun else backend.asked)
    assert (state.completions.concurrency.taken, backend.closed) == (1, 0)
    end(connection)
    await connection.served
    assert (state.completions.concurrency.taken, backend.closed) == (0, 1)
    # A client that is still connected gets an error and the end of the response.
    statuses = [each["status"] for each in connection.sent if "status" in each]
    assert statuses == ([200] if begun else [503] * stopped)
    ends = [each for each in connection.sent if "body" in each and not each.get("more_body")]
    assert [b"the service is stopping" in each["body"] for each in ends] == [True] * stopped
    assert await customer.used() == (tokens, tokens * 7)
