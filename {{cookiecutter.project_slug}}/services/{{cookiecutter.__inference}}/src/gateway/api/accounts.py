"""What people do for themselves: register, log in, manage their own API keys."""

from contextlib import suppress
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel

from servicebase.pagination import Page, PageParams, page

from .. import accounts, domain, errors
from ..ports import Admission, Ports
from .credentials import Credentials, CredentialsDep, CurrentUser
from .dependencies import PortsDep
from .error_handlers import documented
from .schemas import fields, requests, responses

_LOGINS = UUID("6e1c1a6e-4a43-4a5e-9d0c-6c3f0d6c7f0a")
REGISTRATIONS = UUID("0c6e1d59-7a6c-4a3c-9a43-3f5a8f0f2b1e")
LOGIN_LIMITS = domain.Limits(requests=60, tokens=10)
"""Of one email in a minute: logins, and by `tokens` those that failed or are under way."""
REGISTER_LIMITS = domain.Limits(requests=300, tokens=300)
"""Of all in a minute: each takes a thread for a while, which logins need as well."""

router = APIRouter(
    prefix="/auth",
    tags=["auth"],
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
)


class Register(fields.Body):
    """A team to create, and its first user."""

    team: fields.Name
    email: fields.Email
    password: fields.Password


class Login(fields.Body):
    """Who wants a session token."""

    email: fields.Email
    # However short: rules for new passwords may be stricter than they were.
    password: Annotated[str, AfterValidator(lambda value: accounts.check_password(value, least=0))]


class OwnKey(requests.KeyPatch):
    """An API key to create."""


class Account(BaseModel):
    """Somebody, and their team."""

    user: responses.User
    team: responses.Team


class SessionToken(BaseModel):
    """What opens /auth for a while."""

    token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the name of a scheme
    expires_at: datetime


@router.post(
    "/register",
    status_code=HTTPStatus.CREATED,
    response_model=Account,
    responses=documented(HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS),
)
async def register(body: Register, ports: PortsDep, credentials: CredentialsDep) -> Any:
    """Create a team without a budget, and its first user."""
    await _admit(ports, REGISTRATIONS, REGISTER_LIMITS, "registrations")
    password_hash = await credentials.passwords.hash(body.password)
    new = domain.NewTeam(name=body.team)
    user = await ports.database.register(new, body.email, password_hash)
    return {"user": user, "team": await ports.database.teams.get(user.team_id)}


@router.post(
    "/login",
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS),
)
async def login(
    body: Login, ports: PortsDep, credentials: CredentialsDep, response: Response
) -> SessionToken:
    """Return a session token."""
    counted = uuid5(_LOGINS, body.email)
    # Counted before the password is looked at, or many guesses at once would all be let through.
    admission = await _admit(ports, counted, LOGIN_LIMITS, "logins with this email")
    user = await _authenticated(body, ports, credentials)
    await ports.limiter.settle(counted, admission.at, -1)
    token, session = credentials.tokens.issue(user)
    response.headers["Cache-Control"] = "no-store"
    return SessionToken(token=token, expires_at=session.expires_at)


@router.post(
    "/logout",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(HTTPStatus.UNAUTHORIZED),
)
async def logout(caller: CurrentUser, credentials: CredentialsDep) -> None:
    """Make the session token useless."""
    await credentials.tokens.revoke(caller.session)


@router.get("/me", response_model=Account, responses=documented(HTTPStatus.UNAUTHORIZED))
async def me(caller: CurrentUser, ports: PortsDep) -> Any:
    """Return who is logged in."""
    return {"user": caller.user, "team": await ports.database.teams.get(caller.user.team_id)}


@router.post(
    "/keys",
    status_code=HTTPStatus.CREATED,
    responses=documented(HTTPStatus.UNAUTHORIZED),
)
async def create_key(
    body: OwnKey,
    caller: CurrentUser,
    ports: PortsDep,
    credentials: CredentialsDep,
    response: Response,
) -> responses.IssuedKey:
    """Create an API key of one's own. The key is shown this once."""
    response.headers["Cache-Control"] = "no-store"
    return responses.IssuedKey.of(
        *await accounts.issue_key(
            ports.database,
            credentials.keys,
            caller.user,
            name=body.name,
            expires_at=body.expires_at,
        )
    )


@router.get(
    "/keys", response_model=Page[responses.Key], responses=documented(HTTPStatus.UNAUTHORIZED)
)
async def list_keys(
    caller: CurrentUser, ports: PortsDep, request: Request, params: Annotated[PageParams, Query()]
) -> Any:
    """List one's own API keys, the newest first."""
    return await page(request, params, partial(ports.database.keys.page, user=caller.user.id))


@router.delete(
    "/keys/{key_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND),
)
async def revoke_key(caller: CurrentUser, ports: PortsDep, key_id: fields.Id) -> None:
    """Make an API key of one's own useless at once."""
    key = await ports.database.keys.get(key_id)
    if key.user_id != caller.user.id:
        # As if there were none: what others have is not even confirmed.
        raise errors.NotFoundError("API key", key.id)
    await accounts.revoke_key(ports, key)


async def _admit(ports: Ports, who: UUID, limits: domain.Limits, what: str) -> Admission:
    """Count one.

    Raises:
        ThrottledError: there were too many in the last minute.
    """
    admission = await ports.limiter.admit(who, limits, 1)
    if admission.refused:
        raise errors.ThrottledError(what, admission.retry_after)
    return admission


async def _authenticated(body: Login, ports: PortsDep, credentials: Credentials) -> domain.User:
    """Return the user who has this email and password.

    Raises:
        CredentialError: there is none.
    """
    passwords = credentials.passwords
    user: domain.User | None = None
    with suppress(errors.NotFoundError):
        user = await ports.database.user_by_email(body.email)
    hash_ = user.password_hash if user else None
    good = await passwords.verify(hash_, body.password)
    if user is None or hash_ is None or not good:
        raise errors.CredentialError("wrong email or password")
    if passwords.outdated(hash_):
        renewed = await passwords.hash(body.password)
        user = await ports.database.users.update(user.id, {"password_hash": renewed})
    return user
