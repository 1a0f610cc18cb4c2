"""Self-service routes: registration, login and the user's own API keys."""

from collections.abc import Mapping
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
from .schemas.resources import Account, IssuedKey, Key, KeyBody, Login, Register, SessionToken

WRONG = "wrong email or password"
_COUNTED = UUID("6e1c1a6e-4a43-4a5e-9d0c-6c3f0d6c7f0a")
LOGIN_LIMITS = {
    "logins from this address": domain.Limits(requests=600, tokens=20),
    "logins with this email from this address": domain.Limits(requests=60, tokens=10),
    # High enough that nobody can lock out another user from a few addresses.
    "logins with this email": domain.Limits(requests=600, tokens=200),
}
"""Limits per minute, in this order: logins, and as `tokens` those that failed or are pending."""
REGISTER_LIMITS = {
    "registrations from this address": domain.Limits(requests=60, tokens=60),
    "registrations": domain.Limits(requests=300, tokens=300),
}
"""Limits per minute: each registration occupies a thread that logins need as well."""

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
    password_hash = await credentials.hash_password(body.password)
    new = domain.NewTeam(name=body.team)
    user = await ports.database.register(new, body.email, password_hash)
    return {"user": user, "team": await ports.database.teams.get(user.team_id)}


@router.post("/login", dependencies=[NO_STORE], responses=documented(401, 429))
async def login(
    body: Login, ip: Address, ports: PortsDep, settings: SettingsDep, credentials: CredentialsDep
) -> SessionToken:
    """Log in with email and password, and return a session token."""
    # Counted before the password is checked, or concurrent guesses would all be admitted.
    admissions = await _admit(ports, LOGIN_LIMITS, body.email, ip)
    user = await _authenticated(body, ports, credentials)
    for counted, at in admissions.items():
        ports.limiter.settle(counted, at, -1)
    issued, now = credentials.tokens.issue(), ports.clock.now()
    session = domain.Session(issued.hash, user.id, now + timedelta(seconds=settings.session_ttl))
    try:
        await ports.database.users.add_session(session, user.password_hash or "", now)
    except errors.NotFoundError:
        # The user was locked out meanwhile.
        raise errors.CredentialError(WRONG) from None
    return SessionToken(token=issued.secret, expires_at=session.expires_at)


@router.post("/logout", status_code=204, responses=GUARDED)
async def logout(caller: CurrentUser, ports: PortsDep) -> None:
    """Log out: invalidate the session token."""
    await ports.database.users.end_session(caller.session.hash)


@router.get("/me", response_model=Account, responses=GUARDED)
async def me(caller: CurrentUser, ports: PortsDep) -> Any:
    """Return the current user and their team."""
    return {"user": caller.user, "team": await ports.database.teams.get(caller.user.team_id)}


@router.post(
    "/keys", status_code=201, response_model=IssuedKey, dependencies=[NO_STORE], responses=GUARDED
)
async def create_key(
    body: KeyBody, caller: CurrentUser, ports: PortsDep, credentials: CredentialsDep
) -> Any:
    """Create an API key for the current user. The key is shown only once."""
    key = await issue_key(ports, credentials.keys, caller.user, body, uuid4())
    try:
        await ports.database.users.session(caller.session.hash)
    except errors.NotFoundError:
        # The user was locked out meanwhile, and must not keep the key.
        await ports.database.keys.remove(key["id"])
        raise errors.CredentialError("this session token is not valid") from None
    return key


@router.get("/keys", response_model=Page.__class_getitem__(Key), responses=GUARDED)
async def list_keys(
    caller: CurrentUser, ports: PortsDep, request: Request, params: Annotated[PageParams, Query()]
) -> Any:
    """List the current user's API keys, newest first."""
    own = {"user_id": caller.user.id}
    return await page(request, params, partial(ports.database.keys.page, where=own))


@router.delete(
    "/keys/{key_id}",
    status_code=204,
    dependencies=[Depends(authenticate), ANNOUNCED],
    responses=documented(401, 404),
)
async def revoke_own_key(caller: CurrentUser, ports: PortsDep, key_id: UUID) -> None:
    """Revoke an API key of the current user, effective immediately."""
    key = await ports.database.keys.get(key_id)
    if key.user_id != caller.user.id:
        # As for an unknown key: do not reveal that it exists.
        raise errors.NotFoundError("API key", key.id)
    await revoke_key(ports, key)


async def issue_key(
    ports: Ports, keys: accounts.Keys, user: domain.User, body: KeyBody, id_: UUID
) -> dict[str, Any]:
    """Create a user's API key and return an IssuedKey; raise InvalidError for a past expiry."""
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
    """Revoke an API key; if it is revoked already, keep that time."""
    revoked_at = key.revoked_at or ports.clock.now()
    return await ports.database.keys.update(key.id, {"revoked_at": revoked_at})


async def _admit(
    ports: Ports, limits: Mapping[str, domain.Limits], email: str, address: str
) -> dict[UUID, float]:
    """Count an attempt against each limit; return the time of the count by its limiter key."""
    counted = {}
    for what, most in limits.items():
        whose = (what, email * ("email" in what), address * ("address" in what))
        who = uuid5(_COUNTED, " ".join(whose))
        admission = await ports.limiter.admit(who, most, 1)
        if admission.refused:
            raise errors.ThrottledError(what, admission.retry_after)
        counted[who] = admission.at
    return counted


async def _authenticated(
    body: Login, ports: Ports, credentials: accounts.Credentials
) -> domain.User:
    """Return the user with this email and password; raise CredentialError if there is none."""
    found = await ports.database.users.page(limit=1, where={"email": body.email})
    user = found[0] if found else None
    hash_ = user.password_hash if user else None
    good = await credentials.verify(hash_, body.password)
    if user is None or hash_ is None or not good:
        raise errors.CredentialError(WRONG)
    if credentials.hasher.check_needs_rehash(hash_):
        renewed = await credentials.hash_password(body.password)
        user = await ports.database.users.update(user.id, {"password_hash": renewed})
    return user
