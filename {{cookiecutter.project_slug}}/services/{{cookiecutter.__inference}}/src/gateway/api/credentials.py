"""Authentication: a configured token for administrators, session tokens for people, API keys."""

from contextlib import suppress
from typing import Annotated, NamedTuple

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from structlog.contextvars import bind_contextvars

from .. import accounts, domain, errors
from .dependencies import CredentialsDep, PortsDep, SettingsDep

_Bearer = HTTPAuthorizationCredentials | None
AdminBearer = Annotated[_Bearer, Depends(HTTPBearer(auto_error=False, scheme_name="AdminToken"))]
KeyBearer = Annotated[_Bearer, Depends(HTTPBearer(auto_error=False, scheme_name="ApiKey"))]
UserBearer = Annotated[_Bearer, Depends(HTTPBearer(auto_error=False, scheme_name="SessionToken"))]


class Caller(NamedTuple):
    """A user who is logged in, and their session."""

    session: domain.Session
    user: domain.User


async def administrator(bearer: AdminBearer, settings: SettingsDep) -> None:
    """Raise CredentialError unless the caller has the admin token."""
    token = settings.admin_token.get_secret_value()
    if bearer is None or not accounts.same(bearer.credentials, token):
        raise errors.CredentialError("this needs the admin token")
    bind_contextvars(user="administrator")


async def authenticate(bearer: UserBearer, ports: PortsDep, credentials: CredentialsDep) -> Caller:
    """Return the logged-in user from the database; raise CredentialError if there is none."""
    if bearer is None:
        raise errors.CredentialError("this needs a session token; log in")
    hash_ = credentials.tokens.hash(bearer.credentials)
    with suppress(errors.NotFoundError):
        session, user = await ports.database.users.session(hash_)
        if accounts.same(session.hash, hash_) and ports.clock.now() < session.expires_at:
            bind_contextvars(team=str(user.team_id), user=str(user.id))
            return Caller(session, user)
    raise errors.CredentialError("this session token is not valid")


async def api_key(request: Request, _: KeyBearer = None) -> domain.ApiKey:
    """Return the API key of the request; raise CredentialError without a valid one.

    The request's log line gets its team and prefix.
    """
    # FastAPI's HTTPBearer would build a model for each request.
    scheme, secret = get_authorization_scheme_param(request.headers.get("Authorization"))
    if scheme.lower() != "bearer" or not secret:
        raise errors.CredentialError("this needs an API key: `Authorization: Bearer sk-...`")
    state = request.app.state
    grant = await state.completions.policy.grant(state.credentials.keys.hash(secret))
    key: domain.ApiKey = grant.key
    bind_contextvars(team=str(key.team_id), key=key.prefix)
    return key


CurrentUser = Annotated[Caller, Depends(authenticate)]
ApiKey = Annotated[domain.ApiKey, Depends(api_key)]
