"""The contract of `Clock`: that of the machine, and the one that tests turn."""

import asyncio
from datetime import UTC

import pytest

from stratakit.testing import eventually

from gateway.ports import Clock

from ..fakes.clock import MemoryClock


async def slept(clock: Clock, seconds: float) -> None:
    """Sleep by a clock, which is turned if it does not go by itself."""
    sleeper = asyncio.create_task(clock.sleep(seconds))
    if isinstance(clock, MemoryClock):
        await eventually(lambda: clock.sleeping == 1 or sleeper.done())
        clock.advance(seconds)
    await sleeper


def test_the_time_has_the_zone_utc(any_clock: Clock) -> None:
    assert any_clock.now().tzinfo is UTC


def test_the_time_does_not_run_back(any_clock: Clock) -> None:
    assert any_clock.now() <= any_clock.now()


async def test_time_passes_while_one_sleeps(any_clock: Clock) -> None:
    before = any_clock.now()
    await slept(any_clock, 0.02)
    # Less than all of it: loops round, and the clock of a machine is set.
    assert (any_clock.now() - before).total_seconds() > 0.01


@pytest.mark.parametrize("seconds", [0, -1])
async def test_to_sleep_for_no_time_lets_others_run(any_clock: Clock, seconds: float) -> None:
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    await any_clock.sleep(seconds)
    assert ran.is_set()


async def test_a_sleeper_can_be_cancelled(any_clock: Clock) -> None:
    sleeper = asyncio.create_task(any_clock.sleep(3600))
    await asyncio.sleep(0)
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeper


async def test_a_turned_clock_wakes_those_whose_time_has_come_in_their_order() -> None:
    clock = MemoryClock()
    woken: list[int] = []

    async def wait(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (30, 10, 20):
            group.create_task(wait(seconds))
        await eventually(lambda: clock.sleeping == 3)
        clock.advance(20)
        await eventually(lambda: len(woken) == 2)
        assert (woken, clock.sleeping) == ([10, 20], 1)
        clock.advance(10)
    assert woken == [10, 20, 30]


async def test_a_turned_clock_passes_over_sleepers_that_were_cancelled() -> None:
    clock = MemoryClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    await eventually(lambda: clock.sleeping == 1)
    sleeper.cancel()
    await asyncio.wait([sleeper])
    clock.advance(1)
    assert clock.sleeping == 0
