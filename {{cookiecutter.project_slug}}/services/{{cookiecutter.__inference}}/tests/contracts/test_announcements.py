"""The contract of `Announcements`, for the fake and the real ones alike."""

import asyncio

from stratakit.testing import eventually

from gateway.ports import Announcements

from ..following import following


async def test_before_the_first_the_version_is_empty(announcements: Announcements) -> None:
    async with following(announcements) as seen:
        assert seen == [""]


async def test_all_who_follow_are_told_a_version_that_was_never_there(
    announcements: Announcements,
) -> None:
    async with following(announcements) as one, following(announcements) as other:
        for number in range(2, 5):
            await announcements.announce()
            await eventually(lambda: len(one) == len(other) == number)  # noqa: B023 - awaited here
        assert len(set(one)) == len(one)
        assert one == other
    async with following(announcements) as seen:
        assert seen == one[-1:]


async def test_of_many_at_once_the_last_is_known_in_the_end(announcements: Announcements) -> None:
    async with following(announcements) as one:
        await asyncio.gather(*(announcements.announce() for _ in range(20)))
        async with following(announcements) as seen:
            await eventually(lambda: seen[0] in one)


async def test_a_server_that_is_there_answers(announcements: Announcements) -> None:
    await announcements.ping()
