"""The contracts of `Limiter`, and of `Clock`, which it reads."""

import asyncio
from dataclasses import astuple
from datetime import UTC
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.clock import SystemClock
from gateway.domain import Limits
from gateway.ports import Admission, Clock, Limiter

from ..fakes.clock import MemoryClock

TEAM = UUID(int=7)
MINUTE = 60.0
PLENTY = 1_000_000
FEW, ENDLESS = Limits(PLENTY, 100), Limits(PLENTY, PLENTY)
# Seconds between earlier admissions; the tokens of each, and their later correction. Then limits
# and tokens of a request, and the expected admission: the exceeded limit, requests and tokens left,
# the time until each limit is reset, and the time until the request would be admitted.
Case = tuple[float, list[tuple[int, int]], Limits, int, tuple[Any, ...]]
CASES: dict[str, Case] = {
    "the first": (0, [], Limits(3, 100), 40, (None, 2, 60, 60, 60, 0)),
    "requests": (0, [(9, 0)] * 2, Limits(2, PLENTY), 1, ("requests", 0, PLENTY - 18, *[60] * 3)),
    "tokens": (0, [(9, 0)] * 2, Limits(PLENTY, 18), 1, ("tokens", PLENTY - 2, 0, *[60] * 3)),
    "too early": (59.999, [(9, 0)], Limits(1, 9), 9, ("requests", 0, 0, *[0.001] * 3)),
    "after a minute": (60, [(9, 0)], Limits(1, 9), 9, (None, 0, 0, 60, 60, 0)),
    "wait": (10, [(10, 0), (60, 0), (30, 0)], FEW, 5, ("tokens", PLENTY - 3, 0, 50, 50, 30)),
    "longer": (10, [(10, 0), (60, 0), (30, 0)], FEW, 50, ("tokens", PLENTY - 3, 0, 50, 50, 40)),
    "one too many": (10, [(60, 0), (30, 0)], FEW, 11, ("tokens", PLENTY - 2, 10, 50, 50, 40)),
    "one fewer": (10, [(60, 0), (30, 0)], FEW, 10, (None, PLENTY - 3, 0, 60, 60, 0)),
    "no request ever": (0, [], Limits(0, PLENTY), 5, ("requests", 0, PLENTY, 0, 0, 60)),
    "nothing ever": (0, [], Limits(0, 0), 5, ("requests", 0, 0, 0, 0, 60)),
    "no token ever": (0, [], Limits(PLENTY, 0), 5, ("tokens", PLENTY, 0, 0, 0, 60)),
    "beyond the limit": (0, [], Limits(PLENTY, 4), 5, ("tokens", PLENTY, 4, 0, 0, 60)),
    "lower limits": (0, [(30, 0)] * 2, Limits(1, 10), 1, ("requests", 0, 0, 60, 60, 60)),
    "higher limits": (0, [(30, 0)] * 2, Limits(9, 100), 30, (None, 6, 10, 60, 60, 0)),
    "some back": (10, [(100, -70)], FEW, 71, ("tokens", PLENTY - 1, 70, 50, 50, 50)),
    "some used": (10, [(100, -70)], FEW, 70, (None, PLENTY - 2, 0, 60, 60, 0)),
    "more than counted": (10, [(10, 200)], FEW, 0, ("tokens", PLENTY - 1, 0, 50, 50, 50)),
    "no more than counted": (10, [(10, -PLENTY)], FEW, 100, (None, PLENTY - 2, 0, 60, 60, 0)),
    "all back": (10, [(10, -10)], Limits(1, 100), 1, ("requests", 0, 100, 50, 0, 50)),
    "same time": (0, [(40, -30)] * 2, FEW, 0, (None, PLENTY - 3, 80, 60, 60, 0)),
    "too late for more": (60, [(100, 50)], FEW, 100, (None, PLENTY - 1, 0, 60, 60, 0)),
    "too late": (40, [(50, -50), (9, -9), (100, 0)], FEW, 1, ("tokens", PLENTY - 1, 0, *[20] * 3)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_an_admission_tells_what_is_left_and_when_the_limits_reset(
    limiter: Limiter, clock: MemoryClock, case: Case
) -> None:
    pause, before, limits, tokens, (refused, *told) = case
    admissions = []
    for counted, _ in before:
        admissions.append(await limiter.admit(TEAM, ENDLESS, counted))
        clock.advance(pause)
    # Teams have separate windows.
    other = await limiter.admit(uuid4(), ENDLESS, 1)
    for admission, (_, correction) in zip(admissions, before, strict=True):
        for team in (TEAM, uuid4()):
            limiter.settle(team, admission.at, correction)
    # A refused request is not counted.
    for _ in range(2 if refused else 1):
        admission = await limiter.admit(TEAM, limits, tokens)
        assert astuple(admission) == (refused, "", *told, other.at)


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "settle"]), st.integers(0, 12))
    # Mostly short, so that a window holds several, but at times longer than a window.
    | st.tuples(st.just("advance"), st.integers(0, 70_000_000) | st.integers(0, 3_000_000)),
    max_size=60,
)


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # Each example has its own team.
)
@given(STEPS, st.builds(Limits, st.integers(0, 6), st.integers(0, 30)), st.integers(1, 10))
async def test_no_minute_exceeds_the_limits_and_requests_are_refused_only_if_needed(
    limiter: Limiter, clock: MemoryClock, steps: list[tuple[str, int]], limits: Limits, last: int
) -> None:
    team = uuid4()
    # Time and tokens of each admission, counted as the port's documentation says.
    history: list[tuple[float, int]] = []

    def fits(seconds: float, requests: int, tokens: int) -> bool:
        # Half a microsecond against rounding errors: clocks show whole ones.
        since = clock.now().timestamp() - seconds + 5e-7
        within = [counted for at, counted in history if at > since]
        return len(within) + requests <= limits.requests and sum(within) + tokens <= limits.tokens

    async def admit(tokens: int) -> Admission:
        could, must = fits(MINUTE, 1, tokens), not fits(MINUTE + 1, 1, tokens)
        admission = await limiter.admit(team, limits, tokens)
        if admission.refused:
            # Requests of the same second may leave the window together.
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
        # It is admitted after exactly this time.
        clock.advance(refusal.retry_after - 0.000_002)
        assert (await admit(last)).refused
        clock.advance(0.000_002)
        assert not (await admit(last)).refused


async def test_an_announcement_refuses_requests_that_depend_on_an_older_version(
    limiter: Limiter, clock: MemoryClock
) -> None:
    seen = [""]
    for left in (2, 1, 0):
        assert await limiter.version() == seen[-1]
        admission = await limiter.admit(TEAM, Limits(3, PLENTY), 1, seen[-1])
        assert (admission.refused, admission.requests_left) == (None, left)
        made = await asyncio.gather(*(limiter.announce() for _ in range(left + 1)))
        refused = [await limiter.admit(TEAM, ENDLESS, 1, old) for old in seen]
        newest = refused[-1].version
        assert {astuple(each) for each in refused} == {("version", newest, *[0] * 5, admission.at)}
        assert newest in made
        assert len({*seen, *made}) == len(seen) + len(made)
        seen.append(newest)
        clock.advance(1)
    # It is the same whether a request depends on it, and whether it is admitted.
    for limits, known in ((ENDLESS, None), (Limits(3, 0), None), (ENDLESS, seen[-1])):
        assert (await limiter.admit(TEAM, limits, 1, known)).version == seen[-1]


@pytest.mark.parametrize("kind", [SystemClock, MemoryClock])
async def test_sleeping_takes_time_and_lets_other_tasks_run(kind: type[Clock]) -> None:
    clock = kind()
    before = clock.now()
    assert before.tzinfo is UTC
    sleeper = asyncio.create_task(clock.sleep(0.02))
    if isinstance(clock, MemoryClock):
        for _ in range(4):
            await asyncio.sleep(0)
            assert not sleeper.done()
            clock.advance(0.005)
    await sleeper
    # Half of it is enough: event loops round, and system clocks are adjusted.
    assert (clock.now() - before).total_seconds() > 0.01
    for no_time in (0, -1):
        ran = asyncio.Event()
        asyncio.get_running_loop().call_soon(ran.set)
        await clock.sleep(no_time)
        assert ran.is_set()
