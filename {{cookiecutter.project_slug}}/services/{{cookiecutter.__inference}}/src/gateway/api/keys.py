"""The credential of programs."""

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from .. import errors

SCHEME = "ApiKey"
"""What the OpenAPI page calls it."""
DOCUMENTED = Depends(HTTPBearer(auto_error=False, scheme_name=SCHEME))
"""Puts it on the page. It costs a request a tenth of all, so those that count do without."""


def hash_of(request: Request) -> str:
    """Return the hash of what was given as a key; whether it is one, the policy knows.

    Raises:
        CredentialError: nothing was given.
    """
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise errors.CredentialError("this needs an API key: `Authorization: Bearer sk-...`")
    key_hash: str = request.app.state.keys.hash(key)
    return key_hash
