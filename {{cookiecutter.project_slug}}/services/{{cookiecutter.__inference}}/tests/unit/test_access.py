"""Each route for people, without its credential and without its servers."""

import re
from collections.abc import Iterator
from uuid import UUID

import httpx2
from fastapi import FastAPI

from .conftest import ADMIN_TOKEN, World

ANN = {"email": "ann@example.org", "password": "correct horse battery"}
OPEN = {"/auth/register": {**ANN, "team": "Blue"}, "/auth/login": ANN}
"""What needs no credential, and a good body of it."""
WRONG = ("", "Bearer x", "Bearer ", f"Basic {ADMIN_TOKEN}", f"Bearer {ADMIN_TOKEN}x", "é")


def operations(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield the method and the path of each; an id in it is nobody's."""
    for path, methods in app.openapi()["paths"].items():
        if path.startswith(("/admin/", "/auth/")):
            for method in methods:
                yield method.upper(), re.sub(r"{\w+}", str(UUID(int=7)), path)


async def test_every_route_answers_401_to_strangers(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    for method, path in operations(app):
        for authorization in WRONG if path not in OPEN else ():
            headers = {b"Authorization": authorization.encode()}
            response = await client.request(method, path, headers=headers)
            assert response.status_code == 401, (method, path, authorization)
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["error"]["code"] == "invalid_api_key"


async def test_every_route_answers_503_without_its_servers(
    app: FastAPI, client: httpx2.AsyncClient, world: World
) -> None:
    answers = [await client.post(path, json=body) for path, body in OPEN.items()]
    tokens = {"/admin": ADMIN_TOKEN, "/auth/": answers[-1].json()["token"]}
    world.database.down = world.announcements.down = world.limiter.down = True
    for method, path in operations(app):
        headers = {"Authorization": f"Bearer {tokens[path[:6]]}"}
        response = await client.request(method, path, json=OPEN.get(path), headers=headers)
        assert response.status_code == 503, (method, path)
        assert response.headers["retry-after"] == "1"
