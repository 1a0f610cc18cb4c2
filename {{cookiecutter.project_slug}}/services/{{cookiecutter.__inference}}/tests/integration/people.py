"""Users of the gateway, and their requests."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any
from uuid import uuid4

import httpx2

from stratakit.testing import Service, timed

ADMIN_TOKEN = "the token of the administrators"  # pragma: allowlist secret
SECRET = "a secret of thirty-two characters"  # pragma: allowlist secret
ANN = {"email": "ann@example.org", "password": "correct horse battery staple"}
CHAT = "/v1/chat/completions"

Connect = Callable[[str | None], httpx2.AsyncClient]
"""Factory of clients with a credential, or without one if it is None."""


def chat(content: str = "hello there", **more: Any) -> dict[str, Any]:
    """Return the body of a chat request to the echo model."""
    return {"model": "echo", "messages": [{"role": "user", "content": content}], **more}


@asynccontextmanager
async def connecting(service: Service) -> AsyncIterator[Connect]:
    """Wait for a gateway, and yield a factory of clients, which close at the end of the block."""
    await service.ready()
    async with AsyncExitStack() as stack:

        def make(credential: str | None) -> httpx2.AsyncClient:
            headers = {"Authorization": f"Bearer {credential}"} if credential else {}
            # Each client has its own address, since some limits apply by address.
            headers["X-Forwarded-For"] = str(IPv6Address(uuid4().int))
            client = httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=30)
            stack.push_async_callback(client.aclose)
            return timed(client)

        yield make


async def created(admin: httpx2.AsyncClient, kind: str, **body: object) -> dict[str, Any]:
    """Create a resource as an administrator, and return it."""
    response = await admin.post(f"/admin/{kind}", json=body)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


@asynccontextmanager
async def configured(admin: httpx2.AsyncClient, **more: dict[str, Any]) -> AsyncIterator[None]:
    """Add models or prices to the config for the duration of a block."""

    async def put(config: dict[str, Any]) -> None:
        response = await admin.put("/admin/config", json=config)
        assert response.status_code == 200, response.text

    config = (await admin.get("/admin/config")).json()
    del config["version"]
    try:
        await put({**config, **{name: {**config[name], **added} for name, added in more.items()}})
        yield
    finally:
        await put(config)


@dataclass(frozen=True, slots=True)
class Team:
    """Team with a user who has a key."""

    id: str
    user: str
    key: str

    @classmethod
    async def make(cls, admin: httpx2.AsyncClient, **fields: object) -> "Team":
        """Create a team with these fields, a user and a key."""
        name = uuid4().hex
        team = await created(admin, "teams", name=name, **fields)
        user = await created(admin, "users", team_id=team["id"], email=f"{name}@example.org")
        key = await created(admin, "keys", user_id=user["id"])
        return cls(team["id"], user["id"], key["key"])
