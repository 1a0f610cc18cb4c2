"""What the gateway's requests have besides those of every service."""

import httpx2
from structlog.typing import EventDict

from gateway.api.models import PATH

from .conftest import ADMIN_TOKEN, World


async def test_the_line_of_a_request_says_who_asked_and_that_of_a_probe_is_for_debugging(
    client: httpx2.AsyncClient, world: World, lines: list[EventDict]
) -> None:
    team = await world.team()
    key, kept = await world.key(team)
    for credential in (key, "sk-strange", ADMIN_TOKEN):
        path = "/admin/teams" if credential == ADMIN_TOKEN else PATH
        await client.get(path, headers={"Authorization": f"Bearer {credential}"})
    for path in ("/health/ready", "/metrics"):
        await client.get(path)
    who = ("team", "key", "user")
    known = [{name: line[name] for name in who if name in line} for line in lines]
    mine = {"team": str(team.id), "key": kept.prefix}
    assert known == [mine, {}, {"user": "administrator"}, {}, {}]
    assert [line["log_level"] for line in lines] == [*["info"] * 3, *["debug"] * 2]
    assert key not in str(lines)
