"""The contract of `Limiter`, for the fake and the real one alike."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.domain import Limits
from gateway.ports import Admission, Announcements, Limiter

from ..fakes.clock import MemoryClock
from ..following import following

TEAM = UUID(int=7)
MINUTE = 60.0
PLENTY = 1_000_000
FEW = Limits(PLENTY, 100)


async def admit(limiter: Limiter, limits: Limits, *tokens: int) -> list[Admission]:
    return [await limiter.admit(TEAM, limits, each) for each in tokens]


def refused(admissions: Sequence[Admission]) -> list[str | None]:
    return [admission.refused for admission in admissions]


async def test_within_the_limits_one_is_let_through(limiter: Limiter, clock: MemoryClock) -> None:
    [admission] = await admit(limiter, Limits(3, 100), 40)
    assert admission == Admission(
        refused=None,
        version="",
        requests_left=2,
        tokens_left=60,
        requests_reset=MINUTE,
        tokens_reset=MINUTE,
        retry_after=0,
        at=clock.now().timestamp(),
    )
    # Teams do not know of each other.
    assert (await limiter.admit(uuid4(), Limits(3, 100), 40)).tokens_left == 60


@pytest.mark.parametrize(
    ("limits", "what"), [(Limits(2, PLENTY), "requests"), (Limits(PLENTY, 20), "tokens")]
)
async def test_what_is_refused_is_not_counted(limiter: Limiter, limits: Limits, what: str) -> None:
    *through, one, other = await admit(limiter, limits, 10, 10, 10, 10)
    assert refused(through) == [None, None]
    assert one == other
    assert (one.refused, one.retry_after) == (what, MINUTE)
    assert (one.requests_left, one.tokens_left) == (limits.requests - 2, limits.tokens - 20)


async def test_after_a_minute_all_is_free_again(limiter: Limiter, clock: MemoryClock) -> None:
    limits = Limits(2, 100)
    await admit(limiter, limits, 50, 50)
    clock.advance(MINUTE - 0.001)
    [early] = await admit(limiter, limits, 100)
    assert early.refused == "requests"
    assert early.requests_reset == early.tokens_reset == early.retry_after == 0.001
    clock.advance(0.001)
    [again] = await admit(limiter, limits, 100)
    assert (again.refused, again.requests_left, again.tokens_left) == (None, 1, 0)


async def test_who_asks_for_more_tokens_waits_longer(limiter: Limiter, clock: MemoryClock) -> None:
    for tokens in (10, 60, 30):
        await admit(limiter, FEW, tokens)
        clock.advance(10)
    few, many = await admit(limiter, FEW, 5, 50)
    assert (few.retry_after, many.retry_after) == (30, 40)
    clock.advance(few.retry_after)
    # Who is refused for tokens may ask for fewer.
    assert refused(await admit(limiter, FEW, 11, 5)) == ["tokens", None]


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(0, PLENTY), "requests"),
        (Limits(0, 0), "requests"),
        (Limits(PLENTY, 0), "tokens"),
        (Limits(PLENTY, 4), "tokens"),
    ],
)
async def test_what_never_fits_waits_a_minute(limiter: Limiter, limits: Limits, what: str) -> None:
    [admission] = await admit(limiter, limits, 5)
    assert (admission.refused, admission.retry_after) == (what, MINUTE)
    assert (admission.requests_reset, admission.tokens_reset) == (0, 0)


async def test_limits_can_change_at_any_time(limiter: Limiter) -> None:
    await admit(limiter, Limits(5, 100), 30, 30)
    [less] = await admit(limiter, Limits(1, 10), 1)
    assert (less.refused, less.requests_left, less.tokens_left) == ("requests", 0, 0)
    [more] = await admit(limiter, Limits(9, 100), 30)
    assert (more.refused, more.requests_left, more.tokens_left) == (None, 6, 10)


# Tokens that one was counted with, by how many they are corrected, and how many are left then.
CORRECTIONS = {"less": (100, -70, 70), "more": (10, 200, 0), "below nothing": (10, -PLENTY, 100)}


@pytest.mark.parametrize(("counted", "change", "left"), CORRECTIONS.values(), ids=CORRECTIONS)
async def test_what_was_counted_can_be_corrected(
    limiter: Limiter, clock: MemoryClock, counted: int, change: int, left: int
) -> None:
    [admission] = await admit(limiter, FEW, counted)
    clock.advance(10)
    await limiter.settle(TEAM, admission.at, change)
    more, as_many = await admit(limiter, FEW, left + 1, left)
    assert (more.refused, more.tokens_left) == ("tokens", left)
    assert (as_many.refused, as_many.tokens_left) == (None if left else "tokens", 0)


async def test_each_of_several_requests_at_one_time_can_be_corrected(limiter: Limiter) -> None:
    for admission in await admit(limiter, FEW, 40, 40):
        await limiter.settle(TEAM, admission.at, -30)
    assert (await admit(limiter, FEW, 0))[0].tokens_left == 80


async def test_what_is_out_of_the_window_stays_out(limiter: Limiter, clock: MemoryClock) -> None:
    [admission] = await admit(limiter, FEW, 100)
    clock.advance(MINUTE)
    await limiter.settle(TEAM, admission.at, 50)
    await limiter.settle(uuid4(), admission.at, 50)
    assert refused(await admit(limiter, FEW, 100)) == [None]
    await limiter.settle(TEAM, admission.at, -50)
    assert refused(await admit(limiter, FEW, 1)) == ["tokens"]


async def test_tokens_that_were_all_given_back_have_no_reset(limiter: Limiter) -> None:
    limits = Limits(1, 100)
    [admission] = await admit(limiter, limits, 10)
    await limiter.settle(TEAM, admission.at, -10)
    [after] = await admit(limiter, limits, 1)
    assert (after.refused, after.requests_reset, after.tokens_reset) == ("requests", MINUTE, 0)


async def test_an_admission_has_the_version_of_the_newest_announcement(
    limiter: Limiter, announcements: Announcements
) -> None:
    versions = set()
    for _ in range(3):
        [admission] = await admit(limiter, Limits(1, PLENTY), 1)
        versions.add(admission.version)
        await announcements.announce()
    async with following(announcements) as seen:
        [admission] = await admit(limiter, Limits(1, PLENTY), 1)
        assert seen == [admission.version]
    assert len(versions.union(seen)) == 4


@pytest.mark.parametrize("limits", [Limits(10, PLENTY), Limits(PLENTY, 70)])
async def test_of_many_at_once_exactly_as_many_pass(limiter: Limiter, limits: Limits) -> None:
    admissions = await asyncio.gather(*(limiter.admit(TEAM, limits, 7) for _ in range(50)))
    through = [admission for admission in admissions if not admission.refused]
    # Each of them has seen those before it.
    assert len(through) == len({admission.tokens_left for admission in through}) == 10


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
@given(STEPS, st.builds(Limits, st.integers(0, 6), st.integers(0, 30)))
async def test_in_no_minute_more_is_let_through_than_the_limits_and_less_only_if_it_must(
    limiter: Limiter, clock: MemoryClock, steps: list[tuple[str, int]], limits: Limits
) -> None:
    team = uuid4()
    # When something was let through, and its tokens, as a reader of the port would count it.
    history: list[tuple[float, int]] = []

    def fits(seconds: float, requests: int, tokens: int) -> bool:
        # Half a microsecond, the least that a clock shows, against errors of rounding.
        since = clock.now().timestamp() - seconds + 5e-7
        within = [counted for at, counted in history if at > since]
        return len(within) + requests <= limits.requests and sum(within) + tokens <= limits.tokens

    for step, amount in steps:
        if step == "advance":
            clock.advance(amount / 1_000_000)
        elif step == "settle" and history:
            at, counted = history.pop()
            back = min(amount, counted)
            await limiter.settle(team, at, -back)
            history.append((at, counted - back))
        elif step == "admit":
            could, must = fits(MINUTE, 1, amount), not fits(MINUTE + 1, 1, amount)
            admission = await limiter.admit(team, limits, amount)
            if admission.refused:
                # The requests of one second may leave the window together.
                assert must
                assert 0 < admission.retry_after <= MINUTE
            else:
                assert could
                history.append((clock.now().timestamp(), amount))
                assert fits(MINUTE, admission.requests_left, admission.tokens_left)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # Each example has its team.
@given(
    st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(1, 10)), max_size=12),
    st.builds(Limits, st.integers(1, 4), st.integers(10, 20)),
    st.integers(1, 10),
)
async def test_a_request_passes_when_retry_after_is_over_and_not_before(
    limiter: Limiter,
    clock: MemoryClock,
    before: list[tuple[int, int]],
    limits: Limits,
    tokens: int,
) -> None:
    team = uuid4()
    for pause, each in before:
        clock.advance(pause / 1_000_000)
        await limiter.admit(team, limits, each)
    first = await limiter.admit(team, limits, tokens)
    if first.refused:
        clock.advance(first.retry_after - 0.000_002)
        assert (await limiter.admit(team, limits, tokens)).refused
        clock.advance(0.000_002)
        assert not (await limiter.admit(team, limits, tokens)).refused
