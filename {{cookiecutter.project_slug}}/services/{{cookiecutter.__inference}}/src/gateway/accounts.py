"""What lets people and programs in: passwords, API keys, session tokens."""

import asyncio
import hmac
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import argon2

from servicebase.values import is_typed

from . import errors

SECRET_BYTES = 32
SHOWN = len("sk-") + 8
"""Characters of a key by which its owner recognises it, and which nobody can use."""
PASSWORD_LENGTHS = (12, 256)

T = TypeVar("T")

HASHER = argon2.PasswordHasher()
# Few, since each of them takes 64 MiB: of many who log in at once the others wait, if not too many.
_threads = ThreadPoolExecutor(2, "argon2")
_places = asyncio.Semaphore(40)


def same(given: str, known: str) -> bool:
    """Compare two secrets in a time that does not tell how much of them is alike."""
    return hmac.compare_digest(given.encode(), known.encode())


def check_password(value: str, least: int = PASSWORD_LENGTHS[0]) -> str:
    """Return `value` in the one form that all keyboards lead to; raise InvalidError for a bad one.

    It is too short or too long then, or holds what cannot be typed.
    """
    password = unicodedata.normalize("NFKC", value)
    most = PASSWORD_LENGTHS[1]
    if not least <= len(password) <= most:
        raise errors.InvalidError("password", f"must have {least} to {most} characters")
    if not is_typed(password):
        raise errors.InvalidError("password", "must not hold control characters")
    return password


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential."""

    secret: str = field(repr=False)
    """To be shown to its owner once; the gateway keeps the next two alone."""
    prefix: str
    hash: str = field(repr=False)


class Keys:
    """Makes API keys, or others alike, and the hashes by which they are found again.

    The hash is keyed, so that whoever reads the database cannot try keys, nor add one.
    """

    def __init__(self, secret: str, purpose: str = "api-keys", beginning: str = "sk-") -> None:
        self._beginning = beginning
        # Of each purpose one of its own, which tells nothing of the secret, nor of the others.
        pepper = hmac.digest(secret.encode(), purpose.encode(), "sha256")
        self._mac = hmac.new(pepper, digestmod="sha256")

    def issue(self) -> Issued:
        """Return a new one."""
        secret = self._beginning + secrets.token_urlsafe(SECRET_BYTES)
        return Issued(secret, secret[:SHOWN], self.hash(secret))

    def hash(self, secret: str) -> str:
        """Return the HMAC-SHA256 of what was shown, in hexadecimal."""
        mac = self._mac.copy()
        mac.update(secret.encode())
        return mac.hexdigest()


@dataclass(frozen=True, slots=True)
class Passwords:
    """Hashes passwords with Argon2id, in threads, so that the event loop goes on meanwhile.

    Both methods raise an OverloadedError where too many are waiting.
    """

    hasher: argon2.PasswordHasher

    async def hash(self, password: str) -> str:
        """Return the hash of a password, with the salt and the parameters that it was made by."""
        return await _in_thread(lambda: self.hasher.hash(password))

    async def verify(self, hash_: str | None, password: str) -> bool:
        """Return whether it is the password of this hash; None takes as long, and has none."""
        if hash_ is None:
            # Hashing costs what verifying does; answering at once would tell who has an account.
            await self.hash(password)
            return False
        with suppress(argon2.exceptions.VerifyMismatchError):
            return await _in_thread(lambda: self.hasher.verify(hash_, password))
        return False

    def outdated(self, hash_: str) -> bool:
        """Return whether the hash was made with other parameters than new ones are."""
        return self.hasher.check_needs_rehash(hash_)


async def _in_thread(work: Callable[[], T]) -> T:
    if _places.locked():
        raise errors.OverloadedError
    async with _places:
        return await asyncio.get_running_loop().run_in_executor(_threads, work)


class Credentials:
    """What makes and checks all of them."""

    def __init__(self, secret: str, hasher: argon2.PasswordHasher) -> None:
        self.keys, self.passwords = Keys(secret), Passwords(hasher)
        # Those of sessions: the database knows which have not ended.
        self.tokens = Keys(secret, "session-tokens", "st-")
