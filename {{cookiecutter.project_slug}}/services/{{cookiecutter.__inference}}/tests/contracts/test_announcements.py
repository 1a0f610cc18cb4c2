"""The contract of `Announcements`, for the fake and the real ones alike."""

import asyncio

from stratakit.testing import eventually

from gateway.ports import Announcements

from ..following import following


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
