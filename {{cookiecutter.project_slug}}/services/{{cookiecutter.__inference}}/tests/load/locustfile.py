"""Clients of the gateway, as `nox -s load` runs them: ordinary Locust, on the echo backend."""

import os
from typing import Any
from uuid import uuid4

from locust import FastHttpUser, task

from stratakit.load import streaming

WORDS = " ".join(f"word{number}" for number in range(32))
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "echo", "messages": [{"role": "user", "content": WORDS}]},
    COMPLETIONS: {"model": "echo", "prompt": WORDS},
}

QUOTA = {"requests_per_minute": 1_000_000_000, "tokens_per_minute": 1_000_000_000}


class Client(FastHttpUser):
    """Somebody who asks again as soon as there is an answer."""

    def on_start(self) -> None:
        """Make a team with a user who has a key, as an administrator."""
        # That of a gateway which was started for this run; of another one it has to be set.
        self.as_ = {"Authorization": f"Bearer {os.environ['GATEWAY_ADMIN_TOKEN']}"}
        name = uuid4().hex
        team = self.create("teams", name=name)
        # Not its quota is to be found, but how much the gateway does.
        self.create("quotas", team_id=team["id"], **QUOTA)
        user = self.create("users", team_id=team["id"], email=f"{name}@example.org")
        key = self.create("keys", user_id=user["id"])
        self.as_ = {"Authorization": f"Bearer {key['key']}"}

    def create(self, kind: str, **body: str | int) -> dict[str, Any]:
        """Create something as an administrator, and return it."""
        return self.client.post(f"/admin/{kind}", json=body, headers=self.as_).json()

    @task
    def chat(self) -> None:
        """Wait for the whole of an answer."""
        self.client.post(CHAT, json=BODIES[CHAT], headers=self.as_)

    @task
    def complete(self) -> None:
        """Have a text gone on with."""
        self.client.post(COMPLETIONS, json=BODIES[COMPLETIONS], headers=self.as_)

    @task
    def stream_chat(self) -> None:
        """Read an answer while it is made."""
        self.stream(CHAT)

    @task
    def stream_completion(self) -> None:
        """Read how a text goes on."""
        self.stream(COMPLETIONS)

    def stream(self, path: str) -> None:
        """Have an answer streamed."""
        body = {**BODIES[path], "stream": True}
        streaming.post(self.client, path, name=f"{path} (stream)", json=body, headers=self.as_)
