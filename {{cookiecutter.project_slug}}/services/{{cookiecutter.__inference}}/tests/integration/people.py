"""Those who use the gateway, as tests see them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2

ADMIN_TOKEN = "the token of the administrators"  # pragma: allowlist secret
SECRET = "a secret of thirty-two characters"  # pragma: allowlist secret
CHAT = "/v1/chat/completions"

Connect = Callable[[str | None], httpx2.AsyncClient]
"""Makes a client with a credential, or with none."""


def chat(content: str = "hello there", **more: Any) -> dict[str, Any]:
    """Return the body of a question to the echo model."""
    return {"model": "echo", "messages": [{"role": "user", "content": content}], **more}


async def created(admin: httpx2.AsyncClient, kind: str, **body: object) -> dict[str, Any]:
    """Create something as an administrator, and return it."""
    response = await admin.post(f"/admin/{kind}", json=body)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


@dataclass(frozen=True, slots=True)
class Team:
    """A team with a user who has a key."""

    id: str
    user: str
    key_id: str
    key: str

    @classmethod
    async def make(cls, admin: httpx2.AsyncClient, **fields: object) -> "Team":
        """Create one; `fields` are the team's own."""
        name = uuid4().hex
        team = await created(admin, "teams", name=name, **fields)
        user = await created(admin, "users", team_id=team["id"], email=f"{name}@example.org")
        key = await created(admin, "keys", user_id=user["id"])
        return cls(team["id"], user["id"], key["id"], key["key"])
