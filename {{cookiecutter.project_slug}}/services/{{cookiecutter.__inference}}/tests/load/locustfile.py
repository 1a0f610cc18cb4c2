"""Locust users that `nox -s load` runs against the gateway, on the echo backend."""

import os
from typing import Any
from uuid import uuid4

from locust import FastHttpUser, task

from stratakit.load import streaming

WORDS = " ".join(f"word{number}" for number in range(32))
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "echo", "messages": [{"role": "user", "content": WORDS}]},
    "/v1/completions": {"model": "echo", "prompt": WORDS},
}
QUOTA = {"requests_per_minute": 1_000_000_000, "tokens_per_minute": 1_000_000_000}


class Client(FastHttpUser):
    """Client that sends the next request as soon as it has a response."""

    def on_start(self) -> None:
        """Create a team, a user and a key, as an administrator."""
        # Set for a gateway that this run has started; for another one, the caller must set it.
        self.as_ = {"Authorization": f"Bearer {os.environ['GATEWAY_ADMIN_TOKEN']}"}
        name = uuid4().hex
        team = self.create("teams", name=name)
        # The test measures the gateway, not the quota.
        self.create("quotas", team_id=team["id"], **QUOTA)
        user = self.create("users", team_id=team["id"], email=f"{name}@example.org")
        key = self.create("keys", user_id=user["id"])
        self.as_ = {"Authorization": f"Bearer {key['key']}"}

    def create(self, kind: str, **body: str | int) -> dict[str, Any]:
        """Create a resource as an administrator, and return it."""
        return self.client.post(f"/admin/{kind}", json=body, headers=self.as_).json()

    @task
    def complete(self) -> None:
        """Request a completion of a chat, and one of a text."""
        for path, body in BODIES.items():
            self.client.post(path, json=body, headers=self.as_)

    @task
    def stream(self) -> None:
        """Request the same as streams, and read them."""
        for path, body in BODIES.items():
            name, streamed = f"{path} (stream)", {**body, "stream": True}
            streaming.post(self.client, path, name=name, json=streamed, headers=self.as_)
