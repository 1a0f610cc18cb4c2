"""What people do for themselves: register, log in, manage their own API keys."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Annotated, Any
from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter, Depends, Query, Request

from servicebase.pagination import Page, PageParams, page

from .. import accounts, domain, errors
from ..ports import Ports
from .credentials import CurrentUser, authenticate
from .dependencies import ANNOUNCED, NO_STORE, Address, CredentialsDep, PortsDep, SettingsDep
from .error_handlers import documented
from .schemas.resources import Account, IssuedKey, Key, Login, OwnKey, Register, SessionToken

WRONG = "wrong email or password"
_COUNTED = UUID("6e1c1a6e-4a43-4a5e-9d0c-6c3f0d6c7f0a")
LOGIN_LIMITS = {
    "logins from this address": domain.Limits(requests=600, tokens=20),
    "logins with this email from this address": domain.Limits(requests=60, tokens=10),
    # So high that nobody locks out another from one address, nor from a few.
    "logins with this email": domain.Limits(requests=600, tokens=200),
}
"""In a minute, in this order: logins, and by `tokens` those that failed or are under way."""
REGISTER_LIMITS = {
    "registrations from this address": domain.Limits(requests=60, tokens=60),
    "registrations": domain.Limits(requests=300, tokens=300),
}
"""In a minute: each takes a thread for a while, which logins need as well."""

router = APIRouter(prefix="/auth", tags=["auth"], responses=documented(400, 503))
GUARDED = documented(401)


@router.post(
    "/register", status_code=201, response_model=Account, responses=documented(403, 409, 429)
)
async def register(
    body: Register, ip: Address, ports: PortsDep, settings: SettingsDep, credentials: CredentialsDep
) -> Any:
    """Create a team without a budget, and its first user."""
    if not settings.registration:
        why = "registration is closed; ask an administrator for an account"
        raise errors.RegistrationClosedError(why)
    await _admit(ports, REGISTER_LIMITS, "", ip)
    password_hash = await credentials.passwords.hash(body.password)
    new = domain.NewTeam(name=body.team)
    user = await ports.database.register(new, body.email, password_hash)
    return {"user": user, "team": await ports.database.teams.get(user.team_id)}


@router.post("/login", dependencies=[NO_STORE], responses=documented(401, 429))
async def login(
    body: Login, ip: Address, ports: PortsDep, settings: SettingsDep, credentials: CredentialsDep
) -> SessionToken:
    """Return a session token."""
    # Counted before the password is looked at, or many guesses at once would all be let through.
    admissions = await _admit(ports, LOGIN_LIMITS, body.email, ip)
    user = await _authenticated(body, ports, credentials.passwords)
    for counted, at in admissions.items():
        ports.limiter.settle(counted, at, -1)
    issued, now = credentials.tokens.issue(), ports.clock.now()
    session = domain.Session(issued.hash, user.id, now + timedelta(seconds=settings.session_ttl))
    try:
        await ports.database.users.add_session(session, user.password_hash or "", now)
    except errors.NotFoundError:
        # Who was locked out meanwhile.
        raise errors.CredentialError(WRONG) from None
    return SessionToken(token=issued.secret, expires_at=session.expires_at)


@router.post("/logout", status_code=204, responses=GUARDED)
async def logout(caller: CurrentUser, ports: PortsDep) -> None:
    """Make the session token useless."""
    await ports.database.users.end_session(caller.session.hash)


@router.get("/me", response_model=Account, responses=GUARDED)
async def me(caller: CurrentUser, ports: PortsDep) -> Any:
    """Return who is logged in."""
    return {"user": caller.user, "team": await ports.database.teams.get(caller.user.team_id)}


@router.post(
    "/keys", status_code=201, response_model=IssuedKey, dependencies=[NO_STORE], responses=GUARDED
)
async def create_key(
    body: OwnKey, caller: CurrentUser, ports: PortsDep, credentials: CredentialsDep
) -> Any:
    """Create an API key of one's own. The key is shown this once."""
    key = await issue_key(ports, credentials.keys, caller.user, body, uuid4())
    try:
        await ports.database.users.session(caller.session.hash)
    except errors.NotFoundError:
        # Who was locked out meanwhile keeps no key.
        await ports.database.keys.remove(key["id"])
        raise errors.CredentialError("this session token is not valid") from None
    return key


@router.get("/keys", response_model=Page.__class_getitem__(Key), responses=GUARDED)
async def list_keys(
    caller: CurrentUser, ports: PortsDep, request: Request, params: Annotated[PageParams, Query()]
) -> Any:
    """List one's own API keys, the newest first."""
    own = {"user_id": caller.user.id}
    return await page(request, params, partial(ports.database.keys.page, where=own))


@router.delete(
    "/keys/{key_id}",
    status_code=204,
    dependencies=[Depends(authenticate), ANNOUNCED],
    responses=documented(401, 404),
)
async def revoke_own_key(caller: CurrentUser, ports: PortsDep, key_id: UUID) -> None:
    """Make an API key of one's own useless at once."""
    key = await ports.database.keys.get(key_id)
    if key.user_id != caller.user.id:
        # As if there were none: what others have is not even confirmed.
        raise errors.NotFoundError("API key", key.id)
    await revoke_key(ports, key)


async def issue_key(
    ports: Ports, keys: accounts.Keys, user: domain.User, body: OwnKey, id_: UUID
) -> dict[str, Any]:
    """Create an API key of a user, and return an IssuedKey; InvalidError if it has expired."""
    if body.expires_at and body.expires_at <= ports.clock.now():
        raise errors.InvalidError("expires_at", "must be in the future")
    issued = keys.issue()
    new = domain.NewApiKey(
        team_id=user.team_id,
        user_id=user.id,
        hash=issued.hash,
        prefix=issued.prefix,
        name=body.name,
        expires_at=body.expires_at,
    )
    return {**asdict(await ports.database.keys.add(id_, new)), "key": issued.secret}


async def revoke_key(ports: Ports, key: domain.ApiKey) -> domain.ApiKey:
    """Make an API key useless; the first time that it was revoked stays."""
    revoked_at = key.revoked_at or ports.clock.now()
    return await ports.database.keys.update(key.id, {"revoked_at": revoked_at})


async def _admit(
    ports: Ports, limits: Mapping[str, domain.Limits], email: str, address: str
) -> dict[UUID, float]:
    """Count one by each of the limits; return what was counted, and when."""
    counted = {}
    for what, most in limits.items():
        whose = (what, email * ("email" in what), address * ("address" in what))
        who = uuid5(_COUNTED, " ".join(whose))
        admission = await ports.limiter.admit(who, most, 1)
        if admission.refused:
            raise errors.ThrottledError(what, admission.retry_after)
        counted[who] = admission.at
    return counted


async def _authenticated(body: Login, ports: Ports, passwords: accounts.Passwords) -> domain.User:
    """Return the user who has this email and password."""
    user: domain.User | None = None
    with suppress(errors.NotFoundError):
        user = await ports.database.users.by_email(body.email)
    hash_ = user.password_hash if user else None
    good = await passwords.verify(hash_, body.password)
    if user is None or hash_ is None or not good:
        raise errors.CredentialError(WRONG)
    if passwords.outdated(hash_):
        renewed = await passwords.hash(body.password)
        user = await ports.database.users.update(user.id, {"password_hash": renewed})
    return user
