"""Credentials of people and programs: passwords, API keys and session tokens."""

import asyncio
import hmac
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import argon2
from pydantic import AfterValidator, WithJsonSchema

from servicebase.values import is_typed

from . import errors

SECRET_BYTES = 32
SHOWN = len("sk-") + 8
"""Length of the prefix of a key that is stored and shown: enough to recognise it, not to use it."""
PASSWORD_LEAST, PASSWORD_MOST = 12, 256

T = TypeVar("T")

HASHER = argon2.PasswordHasher()
# Two threads, since each hash takes 64 MiB; other logins wait, up to the limit of the semaphore.
_threads = ThreadPoolExecutor(2, "argon2")
_places = asyncio.Semaphore(40)


def same(given: str, known: str) -> bool:
    """Return whether two secrets are equal; compare them in constant time."""
    return hmac.compare_digest(given.encode(), known.encode())


def check_password(value: str, least: int = PASSWORD_LEAST) -> str:
    """Return `value` in NFKC form, so that it does not depend on the keyboard or the system.

    Raise InvalidError if it is too short or too long, or contains control characters.
    """
    password = unicodedata.normalize("NFKC", value)
    if not least <= len(password) <= PASSWORD_MOST:
        raise errors.InvalidError("password", f"must have {least} to {PASSWORD_MOST} characters")
    if not is_typed(password):
        raise errors.InvalidError("password", "must not hold control characters")
    return password


_LENGTHS = {"minLength": PASSWORD_LEAST, "maxLength": PASSWORD_MOST}
Password = Annotated[
    str,
    AfterValidator(check_password),
    WithJsonSchema({"type": "string", "format": "password", **_LENGTHS}),
]


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential."""

    secret: str = field(repr=False)
    """Shown to its owner once; only the prefix and the hash are stored."""
    prefix: str
    hash: str = field(repr=False)


class Keys:
    """Issuer of API keys or similar tokens, and of the hashes by which they are looked up.

    The hashes are keyed: access to the database is not enough to guess a key, nor to add one.
    """

    def __init__(self, secret: str, purpose: str = "api-keys", beginning: str = "sk-") -> None:
        self._beginning = beginning
        # Derived per purpose: it reveals neither the secret nor the key of another purpose.
        pepper = hmac.digest(secret.encode(), purpose.encode(), "sha256")
        self._mac = hmac.new(pepper, digestmod="sha256")

    def issue(self) -> Issued:
        """Return a new credential."""
        secret = self._beginning + secrets.token_urlsafe(SECRET_BYTES)
        return Issued(secret, secret[:SHOWN], self.hash(secret))

    def hash(self, secret: str) -> str:
        """Return the HMAC-SHA256 of a secret, in hexadecimal."""
        mac = self._mac.copy()
        mac.update(secret.encode())
        return mac.hexdigest()


async def _in_thread(work: Callable[[], T]) -> T:
    if _places.locked():
        raise errors.OverloadedError
    async with _places:
        return await asyncio.get_running_loop().run_in_executor(_threads, work)


class Credentials:
    """Issuers of keys and session tokens, and password hashing with Argon2id.

    That runs in threads, so that it does not block the event loop; `hash_password` and `verify`
    raise OverloadedError if too many callers are waiting.
    """

    def __init__(self, secret: str, hasher: argon2.PasswordHasher) -> None:
        self.keys, self.hasher = Keys(secret), hasher
        # Session tokens: the database stores which sessions are open.
        self.tokens = Keys(secret, "session-tokens", "st-")

    async def hash_password(self, password: str) -> str:
        """Return the hash of a password, which includes its salt and parameters."""
        return await _in_thread(lambda: self.hasher.hash(password))

    async def verify(self, hash_: str | None, password: str) -> bool:
        """Return whether the password matches the hash; for None, return False as slowly."""
        if hash_ is None:
            # As slow as verifying: a quick response would reveal that there is no such account.
            await self.hash_password(password)
            return False
        with suppress(argon2.exceptions.VerifyMismatchError):
            return await _in_thread(lambda: self.hasher.verify(hash_, password))
        return False
