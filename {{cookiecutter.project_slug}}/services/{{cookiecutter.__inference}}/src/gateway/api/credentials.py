"""Who asks: administrators show a configured token, people one that they logged in for."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from .. import accounts, domain, errors
from .dependencies import OptionsDep, PortsDep

_Bearer = HTTPAuthorizationCredentials | None
AdminBearer = Annotated[_Bearer, Depends(HTTPBearer(auto_error=False, scheme_name="AdminToken"))]
UserBearer = Annotated[_Bearer, Depends(HTTPBearer(auto_error=False, scheme_name="SessionToken"))]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What makes and checks them."""

    keys: accounts.Keys
    passwords: accounts.Passwords
    tokens: accounts.Tokens


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who is logged in."""

    user: domain.User
    session: accounts.Session


async def administrator(bearer: AdminBearer, options: OptionsDep) -> None:
    """Return if the caller is an administrator.

    Raises:
        CredentialError: they are not.
    """
    if bearer is None or not accounts.same(bearer.credentials, options.admin_token):
        raise errors.CredentialError("this needs the token of the administrators")


async def _credentials(ports: PortsDep, options: OptionsDep) -> Credentials:
    ttl = timedelta(seconds=options.session_ttl)
    return Credentials(
        accounts.Keys(options.secret),
        accounts.Passwords(options.hasher),
        accounts.Tokens(options.secret, ttl, sessions=ports.sessions, clock=ports.clock),
    )


CredentialsDep = Annotated[Credentials, Depends(_credentials)]


async def _caller(bearer: UserBearer, ports: PortsDep, credentials: CredentialsDep) -> Caller:
    if bearer is None:
        raise errors.CredentialError("this needs a session token; log in")
    session = await credentials.tokens.read(bearer.credentials)
    try:
        return Caller(await ports.database.users.get(session.user_id), session)
    except errors.NotFoundError as error:
        raise errors.CredentialError("this session token is no longer valid") from error


CurrentUser = Annotated[Caller, Depends(_caller)]
