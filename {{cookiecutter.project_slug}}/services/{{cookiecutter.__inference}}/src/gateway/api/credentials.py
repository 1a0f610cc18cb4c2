"""Who asks: administrators show a configured token, people one that they logged in for."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from structlog.contextvars import bind_contextvars

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
    session: domain.Session


async def administrator(bearer: AdminBearer, options: OptionsDep) -> None:
    """Return if the caller is an administrator.

    Raises:
        CredentialError: they are not.
    """
    if bearer is None or not accounts.same(bearer.credentials, options.admin_token):
        raise errors.CredentialError("this needs the token of the administrators")
    bind_contextvars(user="administrator")


async def _credentials(options: OptionsDep) -> Credentials:
    return Credentials(
        accounts.Keys(options.secret),
        accounts.Passwords(options.hasher),
        accounts.Tokens(options.secret),
    )


CredentialsDep = Annotated[Credentials, Depends(_credentials)]


async def authenticate(bearer: UserBearer, ports: PortsDep, credentials: CredentialsDep) -> Caller:
    """Return who is logged in, as the database has it now.

    Raises:
        CredentialError: nobody is.
    """
    if bearer is None:
        raise errors.CredentialError("this needs a session token; log in")
    hash_ = credentials.tokens.hash(bearer.credentials)
    with suppress(errors.NotFoundError):
        session, user = await ports.database.users.session(hash_)
        if accounts.same(session.hash, hash_) and ports.clock.now() < session.expires_at:
            bind_contextvars(team=str(user.team_id), user=str(user.id))
            return Caller(user, session)
    raise errors.CredentialError("this session token is not valid")


CurrentUser = Annotated[Caller, Depends(authenticate)]
