"""The credential of programs."""

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import State

from .. import errors

Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, scheme_name="ApiKey")),
]


def hash_of(bearer: Bearer, state: State) -> str:
    """Return the hash of what was given as a key; whether it is one, the policy knows.

    No dependency of its own, since each costs every request a twentieth of all.

    Raises:
        CredentialError: nothing was given.
    """
    if bearer is None:
        raise errors.CredentialError("this needs an API key: `Authorization: Bearer sk-...`")
    key_hash: str = state.keys.hash(bearer.credentials)
    return key_hash
