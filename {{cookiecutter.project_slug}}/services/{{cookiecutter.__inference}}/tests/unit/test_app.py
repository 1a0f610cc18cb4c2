"""The life of an application, from its start to its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from stratakit.testing import eventually

from gateway.app import create_app
from gateway.ports import Inference

from .conftest import OPTIONS, Customer, World


async def test_while_it_lives_it_takes_over_what_is_published(world: World) -> None:
    app = create_app(world.ports, OPTIONS)
    async with app.router.lifespan_context(app):
        published = await world.configure(max_tokens=7)

        async def known() -> bool:
            return bool(await app.state.policy.config() == published)

        await eventually(known)


async def test_at_its_end_all_is_settled_before_anything_is_closed(customer: Customer) -> None:
    ended = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        ended.append(await customer.spent())

    await customer.pay()
    app = create_app(customer.world.ports, OPTIONS, lifespan=lifespan)
    request = Inference(model="mine", prompt="")
    async with app.router.lifespan_context(app):
        admitted = await app.state.completions.admit(customer.key.hash, request)
        closing = asyncio.create_task(admitted.close())
        await asyncio.sleep(0)  # It has begun to settle.
        closing.cancel()
    assert ended == [0]
