"""The application as a whole: its start and its end, its lines in the log, its probes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from structlog.typing import EventDict

from stratakit.testing import eventually

from gateway.api.models import PATH
from gateway.app import create_app
from gateway.ports import Inference

from .conftest import ADMIN_TOKEN, OPTIONS, Customer, World, refusal


async def test_while_it_lives_it_takes_over_what_is_published(world: World) -> None:
    app = create_app(world.ports, OPTIONS)
    async with app.router.lifespan_context(app):
        before = await app.state.policy.config()
        published = await world.configure(max_tokens=7)
        assert before != published

        async def known() -> bool:
            return bool(await app.state.policy.config() == published)

        await eventually(known)


async def test_at_its_end_all_is_settled_before_anything_is_closed(customer: Customer) -> None:
    ended = []

    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        yield
        ended.append(await customer.spent())

    await customer.pay()
    app = create_app(customer.world.ports, OPTIONS, around=around())
    request = Inference(model="mine", prompt="")
    async with app.router.lifespan_context(app):
        admitted = await app.state.completions.admit(customer.key.hash, request)
        closing = asyncio.create_task(admitted.close())
        await asyncio.sleep(0)  # It has begun to settle.
        closing.cancel()
    assert ended == [0]


async def test_the_line_of_a_request_says_who_asked_and_that_of_a_probe_is_for_debugging(
    customer: Customer, client: httpx2.AsyncClient, lines: list[EventDict]
) -> None:
    key = client.headers["Authorization"]
    for credential in (key, "Bearer sk-strange", f"Bearer {ADMIN_TOKEN}"):
        path = "/admin/teams" if ADMIN_TOKEN in credential else PATH
        await client.get(path, headers={"Authorization": credential})
    for path in ("/health/ready", "/metrics"):
        await client.get(path)
    who = ("team", "key", "user")
    known = [{name: line[name] for name in who if name in line} for line in lines]
    mine = {"team": str(customer.team.id), "key": customer.key.prefix}
    assert known == [mine, {}, {"user": "administrator"}, {}, {}]
    assert [line["log_level"] for line in lines] == [*["info"] * 3, *["debug"] * 2]
    assert key.removeprefix("Bearer ") not in str(lines)


async def test_ready_answers_503_and_names_what_is_down_until_it_is_back(
    client: httpx2.AsyncClient, world: World, lines: list[EventDict]
) -> None:
    for down in ("postgres", "redis"):
        world.database.down, world.announcements.down = down == "postgres", down == "redis"
        response = await client.get("/health/ready")
        assert refusal(response) == (503, None, "unavailable")
        assert response.json()["error"]["message"] == f"down: {down}"
    world.announcements.down = False
    assert (await client.get("/health/ready")).json() == {"status": "ready"}
