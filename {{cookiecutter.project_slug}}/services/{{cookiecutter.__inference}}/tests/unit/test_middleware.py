"""What the gateway's requests have besides those of every service."""

import httpx2
import pytest
from structlog.typing import EventDict

from gateway.api.models import PATH

from .conftest import ADMIN_TOKEN, World
from .test_completions import CHAT, refusal

AUTH = "/auth/login"


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


@pytest.mark.usefixtures("key", "lines")
@pytest.mark.parametrize("path", [CHAT, AUTH])
@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"\x1f\x8b", {"Content-Encoding": "gzip"}, 415, "Content-Encoding"),
        (b"[" * 4_000, {}, 400, "recursion limit|too deeply|EOF"),
        (b'{"a":', {}, 400, "is no JSON: "),
    ],
)
async def test_a_body_that_cannot_be_read_is_told_why(
    client: httpx2.AsyncClient,
    path: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    says: str,
) -> None:
    response = await client.post(path, content=body, headers=headers)
    assert refusal(response)[0] == status
    message = response.json()["error"]["message"]
    assert any(each in message for each in says.split("|")), message


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize(
    ("path", "size", "status"),
    [(AUTH, 4_097, 413), ("/admin/teams", 65_537, 413), (CHAT, 1, 401), ("/nothing", 1, 404)],
)
async def test_strangers_may_send_little(
    client: httpx2.AsyncClient, path: str, size: int, status: int
) -> None:
    assert (await client.post(path, content=b" " * size)).status_code == status
