"""Smoke test that `nox -s cloud` runs against a deployed gateway."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx2


def smoke(url: str, settings: Mapping[str, str]) -> None:
    """Create a team, a user and a key, and request a completion with the key."""
    name = f"smoke-{uuid4()}"
    with httpx2.Client(base_url=url, timeout=30) as client:

        def post(path: str, credential: str, **body: object) -> Any:
            headers = {"Authorization": f"Bearer {credential}"}
            answer = client.post(path, json=body, headers=headers)
            assert answer.is_success, f"{path} answers {answer.status_code}: {answer.text}"
            return answer.json()

        admin = settings["GATEWAY_ADMIN_TOKEN"]
        team = post("/admin/teams", admin, name=name)
        user = post("/admin/users", admin, team_id=team["id"], email=f"{name}@example.org")
        key = post("/admin/keys", admin, user_id=user["id"])["key"]
        question = [{"role": "user", "content": "hello there"}]
        said = post("/v1/chat/completions", key, model="echo", messages=question)
    content = said["choices"][0]["message"]["content"]
    assert sorted(content.split()) == ["hello", "there"], content
