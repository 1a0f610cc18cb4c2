"""The contracts of `Limiter` and of what it reads: `Clock` and `Announcements`."""

import asyncio
from dataclasses import astuple
from datetime import UTC
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratakit.testing import eventually

from gateway.adapters.clock import SystemClock
from gateway.domain import Limits
from gateway.ports import Admission, Announcements, Clock, Limiter

from ..conftest import following
from ..fakes.clock import MemoryClock

TEAM = UUID(int=7)
MINUTE = 60.0
PLENTY = 1_000_000
FEW, ENDLESS = Limits(PLENTY, 100), Limits(PLENTY, PLENTY)
# What was let through before, so many seconds after each other: its tokens, and by how many they
# are corrected then. Who asks, for how many, and is told: of what there is too little, what is left
# of requests and tokens, when all of each is free again, and when this request would pass.
Case = tuple[float, list[tuple[int, int]], Limits, int, tuple[Any, ...]]
CASES: dict[str, Case] = {
    "the first": (0, [], Limits(3, 100), 40, (None, 2, 60, 60, 60, 0)),
    "of requests": (0, [(9, 0)] * 2, Limits(2, PLENTY), 1, ("requests", 0, PLENTY - 18, *[60] * 3)),
    "of tokens": (0, [(9, 0)] * 2, Limits(PLENTY, 18), 1, ("tokens", PLENTY - 2, 0, *[60] * 3)),
    "too early": (59.999, [(9, 0)], Limits(1, 9), 9, ("requests", 0, 0, *[0.001] * 3)),
    "after a minute": (60, [(9, 0)], Limits(1, 9), 9, (None, 0, 0, 60, 60, 0)),
    "waits": (10, [(10, 0), (60, 0), (30, 0)], FEW, 5, ("tokens", PLENTY - 3, 0, 50, 50, 30)),
    "longer": (10, [(10, 0), (60, 0), (30, 0)], FEW, 50, ("tokens", PLENTY - 3, 0, 50, 50, 40)),
    "too many": (10, [(60, 0), (30, 0)], FEW, 11, ("tokens", PLENTY - 2, 10, 50, 50, 40)),
    "fewer": (10, [(60, 0), (30, 0)], FEW, 10, (None, PLENTY - 3, 0, 60, 60, 0)),
    "no request ever": (0, [], Limits(0, PLENTY), 5, ("requests", 0, PLENTY, 0, 0, 60)),
    "nothing ever": (0, [], Limits(0, 0), 5, ("requests", 0, 0, 0, 0, 60)),
    "no token ever": (0, [], Limits(PLENTY, 0), 5, ("tokens", PLENTY, 0, 0, 0, 60)),
    "never so many": (0, [], Limits(PLENTY, 4), 5, ("tokens", PLENTY, 4, 0, 0, 60)),
    "lower limits": (0, [(30, 0)] * 2, Limits(1, 10), 1, ("requests", 0, 0, 60, 60, 60)),
    "higher limits": (0, [(30, 0)] * 2, Limits(9, 100), 30, (None, 6, 10, 60, 60, 0)),
    "some back": (10, [(100, -70)], FEW, 71, ("tokens", PLENTY - 1, 70, 50, 50, 50)),
    "some used": (10, [(100, -70)], FEW, 70, (None, PLENTY - 2, 0, 60, 60, 0)),
    "more than were counted": (10, [(10, 200)], FEW, 0, ("tokens", PLENTY - 1, 0, 50, 50, 50)),
    "no more than were counted": (10, [(10, -PLENTY)], FEW, 100, (None, PLENTY - 2, 0, 60, 60, 0)),
    "all back": (10, [(10, -10)], Limits(1, 100), 1, ("requests", 0, 100, 50, 0, 50)),
    "of each at one time": (0, [(40, -30)] * 2, FEW, 0, (None, PLENTY - 3, 80, 60, 60, 0)),
    "too late for more": (60, [(100, 50)], FEW, 100, (None, PLENTY - 1, 0, 60, 60, 0)),
    "too late": (40, [(50, -50), (9, -9), (100, 0)], FEW, 1, ("tokens", PLENTY - 1, 0, *[20] * 3)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_an_admission_says_what_is_left_and_when_there_is_more(
    limiter: Limiter, clock: MemoryClock, case: Case
) -> None:
    pause, before, limits, tokens, (refused, *told) = case
    admissions = []
    for counted, _ in before:
        admissions.append(await limiter.admit(TEAM, ENDLESS, counted))
        clock.advance(pause)
    # Teams do not know of each other.
    other = await limiter.admit(uuid4(), ENDLESS, 1)
    for admission, (_, correction) in zip(admissions, before, strict=True):
        for team in (TEAM, uuid4()):
            limiter.settle(team, admission.at, correction)
    # What is refused is not counted.
    for _ in range(2 if refused else 1):
        admission = await limiter.admit(TEAM, limits, tokens)
        assert astuple(admission) == (refused, "", *told, other.at)


async def test_an_admission_has_the_version_of_the_newest_announcement(
    limiter: Limiter, announcements: Announcements
) -> None:
    versions = set()
    for _ in range(3):
        versions.add((await limiter.admit(TEAM, Limits(1, PLENTY), 1)).version)
        await announcements.announce()
    async with following(announcements) as seen:
        assert seen == [(await limiter.admit(TEAM, Limits(1, PLENTY), 1)).version]
    assert len(versions.union(seen)) == 4


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "settle"]), st.integers(0, 12))
    # Mostly so short that a window holds several, at times so long that it holds none.
    | st.tuples(st.just("advance"), st.integers(0, 70_000_000) | st.integers(0, 3_000_000)),
    max_size=60,
)


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # Each example has its team.
)
@given(STEPS, st.builds(Limits, st.integers(0, 6), st.integers(0, 30)), st.integers(1, 10))
async def test_in_no_minute_more_is_let_through_than_the_limits_and_less_only_if_it_must(
    limiter: Limiter, clock: MemoryClock, steps: list[tuple[str, int]], limits: Limits, last: int
) -> None:
    team = uuid4()
    # When something was let through, and its tokens, as a reader of the port would count it.
    history: list[tuple[float, int]] = []

    def fits(seconds: float, requests: int, tokens: int) -> bool:
        # Half a microsecond, the least that a clock shows, against errors of rounding.
        since = clock.now().timestamp() - seconds + 5e-7
        within = [counted for at, counted in history if at > since]
        return len(within) + requests <= limits.requests and sum(within) + tokens <= limits.tokens

    async def admit(tokens: int) -> Admission:
        could, must = fits(MINUTE, 1, tokens), not fits(MINUTE + 1, 1, tokens)
        admission = await limiter.admit(team, limits, tokens)
        if admission.refused:
            # The requests of one second may leave the window together.
            assert must
            assert 0 < admission.retry_after <= MINUTE
        else:
            assert could
            history.append((clock.now().timestamp(), tokens))
            assert fits(MINUTE, admission.requests_left, admission.tokens_left)
        return admission

    for step, amount in steps:
        if step == "advance":
            clock.advance(amount / 1_000_000)
        elif step == "admit":
            await admit(amount)
        elif history:
            at, counted = history.pop()
            back = min(amount, counted)
            limiter.settle(team, at, -back)
            history.append((at, counted - back))
    refusal = await admit(last)
    if refusal.refused and limits.requests and last <= limits.tokens:
        # It passes when this is over, and not before.
        clock.advance(refusal.retry_after - 0.000_002)
        assert (await admit(last)).refused
        clock.advance(0.000_002)
        assert not (await admit(last)).refused


async def test_all_who_follow_are_told_a_new_version(announcements: Announcements) -> None:
    await announcements.ping()
    async with following(announcements) as one, following(announcements) as other:
        assert one == [""]
        for number in range(2, 5):
            await announcements.announce()
            await eventually(lambda: len(one) == len(other) == number)  # noqa: B023 - awaited here
        assert len(set(one)) == len(one)
        assert one == other
        await asyncio.gather(*(announcements.announce() for _ in range(20)))
        # Of many at once the last is known in the end.
        async with following(announcements) as seen:
            await eventually(lambda: seen[0] in one)


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
