"""The credential of programs."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from structlog.contextvars import bind_contextvars

from .. import errors

_Documented = Depends(HTTPBearer(auto_error=False, scheme_name="ApiKey"))


async def hash_of(
    request: Request, _page: Annotated[HTTPAuthorizationCredentials | None, _Documented] = None
) -> str:
    """Return the hash of the key that was given, which is in the request's line in the log.

    Raises:
        CredentialError: nothing was given, or no key.
    """
    scheme, _blank, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise errors.CredentialError("this needs an API key: `Authorization: Bearer sk-...`")
    key_hash: str = request.app.state.credentials.keys.hash(key)
    grant = await request.app.state.policy.grant(key_hash)
    bind_contextvars(team=str(grant.key.team_id), key=grant.key.prefix)
    return key_hash


KeyHash = Annotated[str, Depends(hash_of)]
