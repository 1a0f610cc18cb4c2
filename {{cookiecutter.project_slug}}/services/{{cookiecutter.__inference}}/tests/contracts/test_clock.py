"""The contract of `Clock`: that of the machine, and the one that tests turn."""

import asyncio
from datetime import UTC

import pytest

from stratakit.testing import eventually

from gateway.adapters.clock import SystemClock
from gateway.ports import Clock

from ..fakes.clock import MemoryClock


@pytest.mark.parametrize("kind", [SystemClock, MemoryClock])
async def test_time_passes_while_one_sleeps_and_others_run(kind: type[Clock]) -> None:
    clock = kind()
    before = clock.now()
    assert before.tzinfo is UTC
    sleeper = asyncio.create_task(clock.sleep(0.02))
    if isinstance(clock, MemoryClock):
        await eventually(lambda: clock.sleeping == 1)
        clock.advance(0.02)
    await sleeper
    # Less than all of it: loops round, and the clock of a machine is set.
    assert (clock.now() - before).total_seconds() > 0.01
    for no_time in (0, -1):
        ran = asyncio.Event()
        asyncio.get_running_loop().call_soon(ran.set)
        await clock.sleep(no_time)
        assert ran.is_set()


async def test_a_turned_clock_wakes_those_whose_time_has_come_and_forgets_who_left() -> None:
    clock = MemoryClock()
    early, late, gone = [asyncio.create_task(clock.sleep(seconds)) for seconds in (20, 30, 15)]
    await eventually(lambda: clock.sleeping == 3)
    gone.cancel()
    await asyncio.wait([gone])
    clock.advance(20)
    await early
    assert (late.done(), clock.sleeping) == (False, 1)
    clock.advance(10)
    await late
    assert clock.sleeping == 0
