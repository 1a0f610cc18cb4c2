"""Streams: their framing, and how they end."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.types import Message
from structlog.typing import EventDict

from stratakit.testing import eventually

from gateway import domain, errors
from gateway.api.streaming import DONE
from gateway.ports import Chunk

from .conftest import World
from .test_completions import BODIES, CHAT, TEXT, pay, post, spent

pytestmark = pytest.mark.usefixtures("key", "alias")

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@dataclass
class Connection:
    """A request that a test can look at while it is answered, and hang up on."""

    app: FastAPI
    key: str
    stream: bool = True
    sent: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        body = json.dumps(BODIES[CHAT] | {"stream": self.stream}).encode()
        self._received.put_nowait({"type": "http.request", "body": body, "more_body": False})
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        scope = {
            "type": "http",
            "method": "POST",
            "path": CHAT,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        self.served = asyncio.create_task(self.app(scope, self._received.get, self._send))

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    def hang_up(self) -> None:
        """Disconnect."""
        self._received.put_nowait({"type": "http.disconnect"})


def data(response: httpx2.Response) -> list[Any]:
    """Return what the events say, without [DONE], which must be the last."""
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    found = [json.loads(event.removeprefix("data: ")) for event in events]
    assert len({(each["id"], each["created"], each["object"]) for each in found}) == 1
    return found


async def test_a_chat_comes_in_pieces(client: httpx2.AsyncClient) -> None:
    response = await post(client, stream=True)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-ratelimit-limit-requests"]
    assert "content-length" not in response.headers
    events = data(response)
    assert (events[0]["object"], events[0]["model"]) == ("chat.completion.chunk", "mine")
    choices = [choice for event in events for choice in event["choices"]]
    assert [(choice["delta"], choice["finish_reason"]) for choice in choices] == [
        ({"role": "assistant", "content": "one"}, None),
        ({"content": " two"}, None),
        ({}, "stop"),
    ]
    assert not any("usage" in event for event in events)


async def test_a_text_comes_in_pieces(client: httpx2.AsyncClient) -> None:
    events = data(await post(client, TEXT, stream=True))
    assert events[0]["object"] == "text_completion"
    choices = [choice for event in events for choice in event["choices"]]
    assert [(choice["text"], choice["finish_reason"]) for choice in choices] == [
        ("one", None),
        (" two", None),
        ("", "stop"),
    ]


@pytest.mark.parametrize("path", BODIES)
async def test_the_tokens_come_last_if_they_are_asked_for(
    client: httpx2.AsyncClient, path: str
) -> None:
    options = {"include_usage": True}
    *events, last = data(await post(client, path, stream=True, stream_options=options))
    assert [event["usage"] for event in events] == [None] * 3
    assert (last["choices"], last["usage"]) == ([], USAGE)


async def test_an_answer_of_nothing_has_a_role_and_an_end(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.backend.script = [Chunk("", "stop", domain.Usage(1, 0))]
    [event] = data(await post(client, stream=True))
    assert event["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert event["choices"][0]["finish_reason"] == "stop"


async def test_deltas_of_tools_and_of_several_choices_come_as_they_are(
    client: httpx2.AsyncClient, world: World
) -> None:
    begin, end = ({"tool_calls": [{"index": 0, **more}]} for more in ({"id": "1"}, {"type": "x"}))
    likely: dict[str, Any] = {"content": []}
    world.backend.script = [
        Chunk("", more=begin),
        Chunk("two", index=1, logprobs=likely),
        Chunk("", more=end),
        Chunk("", "tool_calls"),
        Chunk("", "content_filter", domain.Usage(3, 2), 1),
    ]
    choices = [event["choices"][0] for event in data(await post(client, stream=True))]
    assert [(each["index"], each["delta"], each["finish_reason"]) for each in choices] == [
        (0, {"role": "assistant", "content": None, **begin}, None),
        (1, {"role": "assistant", "content": "two"}, None),
        (0, end, None),
        (0, {}, "tool_calls"),
        (1, {}, "content_filter"),
    ]
    assert choices[1]["logprobs"] == likely


async def test_an_error_after_the_first_piece_is_the_last_event_and_what_was_made_is_paid_for(
    client: httpx2.AsyncClient, world: World, team: domain.Team, lines: list[EventDict]
) -> None:
    await pay(world, team)
    world.backend.script = [Chunk("one"), errors.BackendError("scripted", "the answer broke off")]
    response = await post(client, stream=True)
    assert response.status_code == 200
    _, last, rest = response.text.split("\n\n")
    assert rest == ""
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "backend_error"
    assert DONE.decode() not in response.text
    assert [line["event"] for line in lines] == ["broken off", "request"]
    # The prompt's bound of ten, and a piece.
    assert await spent(world, team) == 11 * 7


async def test_a_crash_after_the_first_piece_breaks_the_stream_off(
    app: FastAPI, key: str, world: World, lines: list[EventDict]
) -> None:
    world.backend.script = [Chunk("one"), ZeroDivisionError()]
    connection = Connection(app, key)
    with pytest.raises(ZeroDivisionError):
        await connection.served
    assert connection.sent[-1]["more_body"]
    assert app.state.concurrency.taken == 0


def stop(connection: Connection) -> None:
    """Have the service stop, whose grace is over."""
    connection.served.cancel()


@pytest.mark.parametrize("hang_up", [Connection.hang_up, stop])
async def test_a_client_that_is_gone_stops_the_backend_and_costs_what_was_made(
    app: FastAPI,
    key: str,
    world: World,
    team: domain.Team,
    hang_up: Callable[[Connection], object],
    lines: list[EventDict],
) -> None:
    await pay(world, team)
    world.backend.waits.clear()
    connection = Connection(app, key)
    await eventually(lambda: len(connection.sent) == 2)
    assert (app.state.concurrency.taken, world.backend.closed) == (1, 0)
    hang_up(connection)
    await connection.served
    last = connection.sent[-1]
    if hang_up is stop:
        assert (b"the service is stopping" in last["body"], last["more_body"]) == (True, False)
    else:
        assert last["more_body"]
    await app.state.background.drain()
    assert (app.state.concurrency.taken, world.backend.closed) == (0, 1)
    assert await spent(world, team) == 11 * 7
    limits = domain.Config().limits
    assert (await world.limiter.admit(team.id, limits, 0)).tokens_left == limits.tokens - 11


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("hang_up", "statuses"), [(Connection.hang_up, []), (stop, [503])])
async def test_a_client_that_is_gone_before_the_first_piece_frees_its_slot_at_once(
    app: FastAPI,
    key: str,
    world: World,
    lines: list[EventDict],
    hang_up: Callable[[Connection], object],
    statuses: list[int],
    *,
    stream: bool,
) -> None:
    world.backend.starts.clear()
    connection = Connection(app, key, stream)
    await eventually(lambda: world.backend.asked)
    hang_up(connection)
    await connection.served
    assert (app.state.concurrency.taken, world.backend.closed) == (0, 1)
    assert [each["status"] for each in connection.sent if "status" in each] == statuses
