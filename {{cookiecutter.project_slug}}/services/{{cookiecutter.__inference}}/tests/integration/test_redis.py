"""The adapters on Redis, beyond their contracts: keys, processes, broken connections, lost data."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
import structlog
from redis.exceptions import ResponseError

from stratakit.testing import eventually

from gateway import errors
from gateway.adapters.clock import SystemClock
from gateway.adapters.redis import Client, RedisLimiter
from gateway.domain import Limits
from gateway.ports import Admission

from ..fakes.clock import MemoryClock
from ..proxy import Proxy

MARKER = "strata:owner"
"""Key that marks a database on a shared server as a test run's."""
TEAM = UUID(int=7)
WINDOW = f"gateway:window:{TEAM}"
PLENTY = 1_000_000
LIMITS, NONE = Limits(PLENTY, PLENTY), Limits(0, 0)
RUN = b"EVALSHA"
"""Command that runs the script, sent once for each request."""


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    """The proxy for the connections of `through`."""
    async with Proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def through(proxy: Proxy) -> AsyncIterator[Client]:
    """A client of this test's own, through the proxy, to this worker's Redis database."""
    async with Client(proxy.url, timeout=5) as client:
        yield client


@pytest.fixture
def mine(through: Client, clock: MemoryClock) -> RedisLimiter:
    """The limiter of this process; `redis_limiter` stands for another process."""
    return RedisLimiter(through, clock)


async def test_a_window_has_the_prefix_of_the_service_stays_small_and_always_expires(
    redis_client: Client, redis_limiter: RedisLimiter, clock: MemoryClock
) -> None:
    await redis_limiter.admit(TEAM, NONE, 1)
    redis_limiter.settle(TEAM, clock.now().timestamp(), 5)
    await redis_limiter.flush()
    # Neither a refusal nor a correction without a window creates a key.
    assert set(await redis_client.keys()) <= {MARKER}
    await redis_limiter.announce()
    admission = await redis_limiter.admit(TEAM, LIMITS, 1)
    assert {*await redis_client.keys()} - {MARKER} == {"gateway:version", WINDOW}
    for correct in (redis_limiter.flush, lambda: redis_limiter.admit(TEAM, NONE, 1)):
        assert 60 < await redis_client.ttl(WINDOW) <= 120
        redis_limiter.settle(TEAM, admission.at, 1)
        await correct()
    assert 60 < await redis_client.ttl(WINDOW) <= 120
    for _ in range(199):
        clock.advance(0.4)
        admission = await redis_limiter.admit(TEAM, LIMITS, 1)
    # A minute less 0.4 s, in steps of 0.4 s, and entries that share the oldest one's second.
    assert PLENTY - 152 <= admission.requests_left <= PLENTY - 150
    unpack = "return #cmsgpack.unpack(redis.call('GET', KEYS[1]))"
    assert await redis_client.eval(unpack, 1, WINDOW) <= 61 * 4


async def test_a_server_that_has_lost_its_data_refuses_requests_that_depend_on_them(
    redis_client: Client, redis_limiter: RedisLimiter
) -> None:
    await redis_limiter.announce()
    before = (await redis_limiter.admit(TEAM, LIMITS, 1)).version
    await redis_client.delete("gateway:version")
    for lost, refused in ((before, "version"), ("", None)):
        admission = await redis_limiter.admit(TEAM, LIMITS, 1, lost)
        assert (admission.refused, admission.version) == (refused, "")


async def test_processes_whose_clocks_differ_share_a_window(redis_client: Client) -> None:
    right, ahead = MemoryClock(), MemoryClock()
    ahead.advance(0.05)
    limits = Limits(3, PLENTY)
    limiters = [RedisLimiter(redis_client, clock) for clock in (ahead, right, ahead, right)]
    admissions = [await limiter.admit(TEAM, limits, 10) for limiter in limiters]
    assert [admission.refused for admission in admissions] == [None, None, None, "requests"]
    assert {admission.at for admission in admissions} == {ahead.now().timestamp()}
    limiters[1].settle(TEAM, admissions[1].at, -10)
    right.advance(admissions[3].retry_after - 0.001)
    refused = await limiters[1].admit(TEAM, limits, 10)
    assert (refused.refused, refused.tokens_left) == ("requests", PLENTY - 20)
    # The last admission was counted by the other clock.
    right.advance(0.051)
    assert not (await limiters[1].admit(TEAM, limits, 10)).refused


@pytest.mark.parametrize("limits", [Limits(40, PLENTY), Limits(PLENTY, 280)])
async def test_several_gateways_at_once_admit_exactly_the_limit(
    redis_client: Client, through: Client, limits: Limits
) -> None:
    limiters = [RedisLimiter(client, SystemClock()) for client in (redis_client, through)]
    asked = [limiter.admit(TEAM, limits, 7) for limiter in limiters for _ in range(40)]
    admissions = await asyncio.gather(*asked)
    admitted = [admission for admission in admissions if not admission.refused]
    # Each admission saw the previous ones.
    assert len(admitted) == len({admission.tokens_left for admission in admitted}) == 40


async def test_concurrent_requests_share_a_round_trip_but_not_an_error(
    redis_client: Client, proxy: Proxy, mine: RedisLimiter
) -> None:
    # Make the script fail for one team: its key has another type.
    await redis_client.lpush(f"gateway:window:{UUID(int=10)}", "x")
    asked = [asyncio.ensure_future(mine.admit(UUID(int=n), Limits(1, n), 5)) for n in range(11)]
    # Let all of them send their requests.
    await asyncio.wait(asked, timeout=0)
    asked[0].cancel()
    gone, *admissions, wrong = await asyncio.gather(*asked, return_exceptions=True)
    assert (type(gone), type(wrong)) == (asyncio.CancelledError, ResponseError)
    refused = [each.refused for each in admissions if isinstance(each, Admission)]
    assert refused == ["tokens"] * 4 + [None] * 5
    # Twice, except for the cancelled one, if the server had to load the script first.
    assert proxy.count(RUN) in {11, 21}
    assert sum(RUN in piece for piece in proxy.sent) < 11


async def test_without_a_response_a_command_and_those_behind_it_fail_after_the_timeout(
    proxy: Proxy, clock: MemoryClock
) -> None:
    async with Client(proxy.url, timeout=1) as client:
        limiter = RedisLimiter(client, clock)
        # Retry: on a busy machine, a second may not be enough.
        await eventually(client.ping)
        await proxy.partition()
        before = time.monotonic()
        with pytest.raises(errors.UnavailableError):
            await client.ping()
        assert 0.9 < time.monotonic() - before < 5
        first = asyncio.ensure_future(limiter.admit(TEAM, LIMITS, 1))
        await eventually(lambda: client._sending and not client._waiting)  # noqa: SLF001 - on its way
        late = asyncio.ensure_future(limiter.admit(TEAM, LIMITS, 1))
        done, waiting = await asyncio.wait([first, late], return_when=asyncio.FIRST_COMPLETED)
        assert not waiting
        assert {type(each.exception()) for each in done} == {errors.UnavailableError}
        await proxy.heal()
        await eventually(client.ping)


async def test_a_correction_is_sent_with_the_next_admission_and_soon_known_to_other_processes(
    proxy: Proxy, mine: RedisLimiter, redis_limiter: RedisLimiter, clock: MemoryClock
) -> None:
    limits = Limits(PLENTY, 100)
    first = await mine.admit(TEAM, limits, 40)
    clock.advance(1)
    second = await mine.admit(TEAM, limits, 40)
    before = proxy.count(RUN)
    for admission in (first, second, second):
        mine.settle(TEAM, admission.at, -10)
    assert (await mine.admit(TEAM, limits, 20)).tokens_left == 30
    assert proxy.count(RUN) == before + 1
    mine.settle(TEAM, second.at, -10)

    async def known() -> bool:
        return (await redis_limiter.admit(TEAM, limits, 0)).tokens_left == 40

    await eventually(known)


async def test_only_the_first_command_fails_after_an_outage(proxy: Proxy, through: Client) -> None:
    await through.ping()
    await proxy.cut()
    await proxy.heal()
    with pytest.raises(errors.UnavailableError):
        await through.ping()
    assert all(await asyncio.gather(*(through.ping() for _ in range(8))))


async def test_a_correction_that_cannot_be_sent_is_logged_and_not_retried(
    proxy: Proxy, mine: RedisLimiter, redis_limiter: RedisLimiter
) -> None:
    admission = await mine.admit(TEAM, LIMITS, 10)
    # Cut first: a correction would be sent by itself after a while.
    await proxy.cut()
    with structlog.testing.capture_logs() as lines:
        mine.settle(TEAM, admission.at, -10)
        flushing = asyncio.ensure_future(mine.flush())
        await asyncio.sleep(0)  # It is on its way, and another one arrives.
        mine.settle(TEAM, admission.at, -10)
        await flushing
    assert [line["event"] for line in lines] == ["tokens not settled"]
    await proxy.heal()
    await mine.flush()
    assert (await redis_limiter.admit(TEAM, LIMITS, 0)).tokens_left == PLENTY - 10
    mine.settle(TEAM, admission.at, -4)

    async def known() -> bool:
        return (await redis_limiter.admit(TEAM, LIMITS, 0)).tokens_left == PLENTY - 6

    await eventually(known)


async def test_a_script_that_the_server_has_lost_is_sent_again(
    redis_client: Client, redis_limiter: RedisLimiter
) -> None:
    text = redis_limiter._script.script  # noqa: SLF001 - SCRIPT FLUSH would affect everybody

    async def forget() -> None:
        script = redis_client.register_script(f"{text!s}-- {uuid4()}")
        assert await redis_client.script_exists(script.sha) == [False]
        redis_limiter._script = script  # noqa: SLF001 - as above

    await forget()
    admission = await redis_limiter.admit(TEAM, LIMITS, 1)
    await forget()
    redis_limiter.settle(TEAM, admission.at, 1)
    await redis_limiter.flush()
    after = await redis_limiter.admit(TEAM, LIMITS, 0)
    assert (after.requests_left, after.tokens_left) == (PLENTY - 2, PLENTY - 2)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("problem", ["OOM", "READONLY", "LOADING", "MASTERDOWN", "ERR"])
async def test_a_temporary_server_error_raises_unavailable_and_any_other_error_passes_through(
    redis_client: Client, problem: str, times: int
) -> None:
    command = ("EVAL", f"return redis.error_reply('{problem} not now')", 0)
    together = [redis_client.execute_command(*command) for _ in range(times)]
    answers = await asyncio.gather(*together, redis_client.ping(), return_exceptions=True)
    expected = ResponseError if problem == "ERR" else errors.UnavailableError
    # Others in the same pipeline are affected only if the connection is closed.
    other = errors.UnavailableError if problem == "LOADING" else bool
    assert [type(answer) for answer in answers] == [expected] * times + [other]
