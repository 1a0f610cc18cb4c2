"""Serves completions without FastAPI, which declares and documents them as it does all else.

What FastAPI does around an endpoint costs a completion a fifth more CPU. Without this module, and
the line in app.py that names it, all works as before, but that a body is read before a key is.
"""

from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from .keys import hash_of


class FastRoute(Route):
    """Serves what a route of FastAPI declares: an endpoint for a request, its body and its key."""

    def __init__(self, declared: APIRoute) -> None:
        """Take over the path, the method and the type of the body."""
        super().__init__(declared.path, self._serve, methods=declared.methods)
        self._answer = declared.endpoint
        self._body: type[BaseModel] = declared.endpoint.__annotations__["body"]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell which route it was, as FastAPI's do."""
        match, found = super().matches(scope)
        return match, {**found, "route": self}

    async def _serve(self, request: Request) -> Response:
        # First, so that nobody without a key has a body read, whatever it is.
        key_hash = await hash_of(request)
        state = request.app.state
        team = (await state.policy.grant(key_hash)).key.team_id
        # Bodies are large: a team may have no more of them on their way than requests.
        state.concurrency.take(team)
        try:
            body = self._body.model_validate_json(await request.body())
        except ValidationError as error:
            wrong: list[Any] = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
            raise RequestValidationError(wrong) from None
        finally:
            state.concurrency.free(team)
        return cast("Response", await self._answer(request, body, key_hash))


def routes(router: APIRouter) -> list[BaseRoute]:
    """Return such a route for each of a router; who looks for one finds the first that matches."""
    return [FastRoute(route) for route in router.routes if isinstance(route, APIRoute)]
