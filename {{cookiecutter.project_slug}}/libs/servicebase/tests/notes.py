"""Application that uses each part of the kit, and nothing else."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, TypedDict

import httpx2
from fastapi import FastAPI, Query, Request
from pydantic import ConfigDict, Strict

from servicebase import health, problem, repository, values
from servicebase.idempotency import IdempotencyKey, IdempotencyStore, id_for
from servicebase.middleware import AccessLog
from servicebase.pagination import Page, PageParams, page

PATH = "/notes"


@dataclass(frozen=True, kw_only=True)
class NewNote:
    """Fields set by the creator, as a client sends them."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: Annotated[str, values.Text(9)]
    quantity: Annotated[int, Strict()] = 0
    tags: tuple[str, ...] = ()
    attributes: values.JsonObject = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Note(NewNote, repository.Entity):
    """Stored note."""


class NoteChanges(TypedDict, total=False):
    """Fields to replace."""

    name: str
    quantity: int
    tags: tuple[str, ...]
    attributes: dict[str, object]


Notes = repository.Repository[NewNote, Note, NoteChanges]


class MemoryNotes(repository.MemoryRepository[NewNote, Note, NoteChanges]):
    """Repository in memory."""

    kind = Note
    name = "note"
    unique = ("name",)

    def matches(self, found: Note, search: str) -> bool:
        """Return whether the name begins with `search`."""
        return found.name.lower().startswith(search)


def create_app(notes: Notes, idempotency: IdempotencyStore) -> FastAPI:
    """Return the application."""

    async def servers() -> dict[str, health.Ping]:
        return {"notes": notes.ping, "keys": idempotency.ping}

    app = FastAPI(routes=[*health.router(servers).routes], redirect_slashes=False)
    problem.install(app)
    app.add_middleware(AccessLog)

    @app.post(PATH, status_code=HTTPStatus.CREATED)
    async def create(new: NewNote, key: IdempotencyKey = None) -> Note:
        return await notes.add(await id_for(idempotency, key, new), new)

    @app.get(PATH, response_model=Page[Note])
    async def list_(request: Request, params: Annotated[PageParams, Query()]) -> dict[str, object]:
        return await page(request, params, notes.page)

    return app


def problem_in(response: httpx2.Response, status: int) -> dict[str, Any]:
    """Return the problem in a response, which must have this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    return body
