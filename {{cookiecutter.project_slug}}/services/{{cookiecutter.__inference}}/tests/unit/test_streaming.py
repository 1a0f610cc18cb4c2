"""Streams: their framing, and how they end."""

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


@dataclass
class Connection:
    """A request that a test can look at while it is answered, and hang up on."""

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
        """Disconnect."""
        self._received.put_nowait({"type": "http.disconnect"})

    def stop(self) -> None:
        """Have the service stop, whose grace is over."""
        self.served.cancel()


def data(response: httpx2.Response) -> list[Any]:
    """Return what the events say, without [DONE], which must be the last."""
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    found = [json.loads(event.removeprefix("data: ")) for event in events]
    assert len({(each["id"], each["created"], each["object"]) for each in found}) == 1
    return found


# Of each kind of answer its name, and what its choices say.
PIECES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    CHAT: (
        "chat.completion.chunk",
        [
            {"delta": {"role": "assistant", "content": "one"}},
            {"delta": {"content": " two"}},
            {"delta": {}},
        ],
    ),
    TEXT: ("text_completion", [{"text": "one"}, {"text": " two"}, {"text": ""}]),
}


@pytest.mark.parametrize("path", PIECES)
async def test_an_answer_comes_in_pieces_and_its_tokens_last(customer: Customer, path: str) -> None:
    response = await customer.post(path, stream=True)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-ratelimit-limit-requests"]
    assert "content-length" not in response.headers
    events = data(response)
    kind, pieces = PIECES[path]
    assert (events[0]["object"], events[0]["model"]) == (kind, "mine")
    ends = [{"index": 0, "logprobs": None, "finish_reason": each} for each in (None, None, "stop")]
    told = [[piece | end] for piece, end in zip(pieces, ends, strict=True)]
    assert [event["choices"] for event in events] == told
    assert not any("usage" in event for event in events)
    response = await customer.post(path, stream=True, stream_options={"include_usage": True})
    *events, last = data(response)
    assert [event["choices"] for event in events] == told
    assert [event["usage"] for event in events] == [None] * 3
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert (last["choices"], last["usage"]) == ([], usage)


async def test_an_answer_of_nothing_has_a_role_and_an_end(customer: Customer) -> None:
    customer.world.backend.script = [Chunk("", "stop", domain.Usage(1, 0))]
    [event] = data(await customer.post(stream=True))
    assert event["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert event["choices"][0]["finish_reason"] == "stop"


async def test_deltas_of_tools_and_of_several_choices_come_as_they_are(customer: Customer) -> None:
    begin, end = ({"tool_calls": [{"index": 0, **more}]} for more in ({"id": "1"}, {"type": "x"}))
    likely: dict[str, Any] = {"content": []}
    customer.world.backend.script = [
        Chunk("", more=begin),
        Chunk("two", index=1, logprobs=likely),
        Chunk("", more=end),
        Chunk("", "tool_calls"),
        Chunk("", "content_filter", domain.Usage(3, 2), 1),
    ]
    choices = [event["choices"][0] for event in data(await customer.post(stream=True))]
    assert [(each["index"], each["delta"], each["finish_reason"]) for each in choices] == [
        (0, {"role": "assistant", "content": None, **begin}, None),
        (1, {"role": "assistant", "content": "two"}, None),
        (0, end, None),
        (0, {}, "tool_calls"),
        (1, {}, "content_filter"),
    ]
    assert choices[1]["logprobs"] == likely


async def test_an_error_after_the_first_piece_is_the_last_event_and_what_was_made_is_paid_for(
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
    # The prompt's bound of ten, and a piece.
    assert await customer.spent() == 11 * 7


async def test_a_late_crash_breaks_a_stream_off(customer: Customer, lines: list[EventDict]) -> None:
    customer.world.backend.script = [Chunk("one"), ZeroDivisionError()]
    connection = Connection(customer)
    with pytest.raises(ZeroDivisionError):
        await connection.served
    assert connection.sent[-1]["more_body"]
    assert customer.app.state.concurrency.taken == 0


each_end = pytest.mark.parametrize("end", [Connection.hang_up, Connection.stop])


@each_end
async def test_a_client_that_is_gone_stops_the_backend_and_costs_what_was_made(
    customer: Customer, lines: list[EventDict], end: Callable[[Connection], None]
) -> None:
    await customer.pay()
    backend, state = customer.world.backend, customer.app.state
    backend.waits.clear()
    connection = Connection(customer)
    await eventually(lambda: len(connection.sent) == 2)
    assert (state.concurrency.taken, backend.closed) == (1, 0)
    end(connection)
    await connection.served
    last = connection.sent[-1]
    stopping = b"the service is stopping" in last["body"]
    # Who is still there is told that it was all.
    assert stopping == (end is Connection.stop) == (not last["more_body"])
    await state.background.drain()
    assert (state.concurrency.taken, backend.closed) == (0, 1)
    assert await customer.spent() == 11 * 7
    assert await customer.tokens_left() == domain.Config().limits.tokens - 11


@pytest.mark.parametrize("stream", [False, True])
@each_end
async def test_a_client_that_is_gone_before_the_first_piece_frees_its_slot_at_once(
    customer: Customer, lines: list[EventDict], end: Callable[[Connection], None], *, stream: bool
) -> None:
    backend = customer.world.backend
    backend.starts.clear()
    connection = Connection(customer, stream)
    await eventually(lambda: backend.asked)
    end(connection)
    await connection.served
    assert (customer.app.state.concurrency.taken, backend.closed) == (0, 1)
    statuses = [each["status"] for each in connection.sent if "status" in each]
    assert statuses == ([503] if end is Connection.stop else [])
