"""Who asks: administrators show a configured token, people that of a session, programs a key."""

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
    """Somebody who is logged in."""

    session: domain.Session
    user: domain.User


async def administrator(bearer: AdminBearer, settings: SettingsDep) -> None:
    """Return if the caller is an administrator; raise CredentialError if they are not."""
    token = settings.admin_token.get_secret_value()
    if bearer is None or not accounts.same(bearer.credentials, token):
        raise errors.CredentialError("this needs the token of the administrators")
    bind_contextvars(user="administrator")


async def authenticate(bearer: UserBearer, ports: PortsDep, credentials: CredentialsDep) -> Caller:
    """Return who is logged in, as the database has it now; raise CredentialError if nobody is."""
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
    """Return the API key that was given; raise CredentialError if it is none.

    The request's line in the log tells whose it is.
    """
    # FastAPI's own would build a model for each request.
    scheme, secret = get_authorization_scheme_param(request.headers.get("Authorization"))
    if scheme.lower() != "bearer" or not secret:
        raise errors.CredentialError("this needs an API key: `Authorization: Bearer sk-...`")
    state = request.app.state
    grant = await state.policy.grant(state.credentials.keys.hash(secret))
    key: domain.ApiKey = grant.key
    bind_contextvars(team=str(key.team_id), key=key.prefix)
    return key


CurrentUser = Annotated[Caller, Depends(authenticate)]
ApiKey = Annotated[domain.ApiKey, Depends(api_key)]
