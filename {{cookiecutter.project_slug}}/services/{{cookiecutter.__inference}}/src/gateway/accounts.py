"""What lets people and programs in: API keys, passwords, session tokens."""

import asyncio
import hmac
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

import argon2
import jwt

from servicebase.values import is_typed

from . import domain, errors
from .changes import publish_after
from .ports import Clock, Database, Ports, Sessions

KEY_BEGINNING = "sk-"
KEY_BYTES = 32
SHOWN = len(KEY_BEGINNING) + 8
"""Characters of a key by which its owner recognises it, and which nobody can use."""
PASSWORD_LENGTHS = (12, 256)

T = TypeVar("T")

# Few, since each of them takes 64 MiB: of many who log in at once the others wait.
_threads = ThreadPoolExecutor(2, "argon2")


def derive(secret: str, label: str) -> bytes:
    """Return the key for one purpose, which tells nothing of the secret or of other purposes."""
    return hmac.digest(secret.encode(), label.encode(), "sha256")


def same(given: str, known: str) -> bool:
    """Compare two secrets in a time that does not tell how much of them is alike."""
    return hmac.compare_digest(given.encode(), known.encode())


def check_password(value: str, least: int = PASSWORD_LENGTHS[0]) -> str:
    """Return `value` in the one form that all keyboards lead to.

    Raises:
        InvalidError: it is too short or too long, or holds what cannot be typed.
    """
    password = unicodedata.normalize("NFKC", value)
    most = PASSWORD_LENGTHS[1]
    if not least <= len(password) <= most:
        raise errors.InvalidError("password", f"must have {least} to {most} characters")
    if not is_typed(password):
        raise errors.InvalidError("password", "must not hold control characters")
    return password


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new API key."""

    key: str = field(repr=False)
    """To be shown to its owner once; the gateway keeps the next two alone."""
    prefix: str
    hash: str = field(repr=False)


class Keys:
    """Makes API keys, and the hashes by which they are found again.

    The hash is keyed, so that whoever reads the database cannot try keys, nor add one.
    """

    def __init__(self, secret: str) -> None:
        self._pepper = derive(secret, "api-keys")

    def issue(self) -> IssuedKey:
        """Return a new key."""
        key = KEY_BEGINNING + secrets.token_urlsafe(KEY_BYTES)
        return IssuedKey(key, key[:SHOWN], self.hash(key))

    def hash(self, key: str) -> str:
        """Return the HMAC-SHA256 of a key, in hexadecimal."""
        return hmac.digest(self._pepper, key.encode(), "sha256").hex()


async def issue_key(
    database: Database,
    keys: Keys,
    user: domain.User,
    *,
    name: str | None,
    expires_at: datetime | None,
) -> tuple[domain.ApiKey, str]:
    """Create an API key of a user; return what is kept of it, and the key itself."""
    issued = keys.issue()
    new = domain.NewApiKey(
        team_id=user.team_id,
        user_id=user.id,
        hash=issued.hash,
        prefix=issued.prefix,
        name=name,
        expires_at=expires_at,
    )
    return await database.keys.create(new), issued.key


async def revoke_key(ports: Ports, key: domain.ApiKey) -> domain.ApiKey:
    """Make an API key useless everywhere; the first time that it was revoked stays."""
    revoked_at = key.revoked_at or ports.clock.now()
    return await publish_after(
        ports.config,
        lambda: ports.database.keys.update(key.id, {"revoked_at": revoked_at}),
    )


class Passwords:
    """Hashes passwords with Argon2id, in threads, so that the event loop goes on meanwhile."""

    def __init__(self, hasher: argon2.PasswordHasher) -> None:
        self._hasher = hasher

    async def hash(self, password: str) -> str:
        """Return the hash of a password, with the salt and the parameters that it was made by."""
        return await _in_thread(lambda: self._hasher.hash(password))

    async def verify(self, hash_: str | None, password: str) -> bool:
        """Return whether it is the password of this hash; None takes as long, and has none."""
        return await _in_thread(lambda: self._verify(hash_, password))

    def outdated(self, hash_: str) -> bool:
        """Return whether the hash was made with other parameters than new ones are."""
        return self._hasher.check_needs_rehash(hash_)

    def _verify(self, hash_: str | None, password: str) -> bool:
        if hash_ is None:
            # Hashing costs what verifying does; answering at once would tell who has an account.
            self._hasher.hash(password)
            return False
        try:
            return self._hasher.verify(hash_, password)
        except argon2.exceptions.VerifyMismatchError:
            return False


@dataclass(frozen=True, slots=True)
class Session:
    """What a session token says."""

    id: str
    user_id: UUID
    expires_at: datetime


class Tokens:
    """Issues session tokens: JSON Web Tokens, signed and not encrypted."""

    ALGORITHM = "HS256"
    CLAIMS = ("sub", "jti", "iat", "exp")

    def __init__(self, secret: str, ttl: timedelta, *, sessions: Sessions, clock: Clock) -> None:
        self._key = derive(secret, "session-tokens")
        self._ttl = ttl
        self._sessions = sessions
        self._clock = clock

    def issue(self, user: domain.User) -> tuple[str, Session]:
        """Return a new token of a user, and what it says."""
        now = self._clock.now().replace(microsecond=0)
        session = Session(uuid4().hex, user.id, now + self._ttl)
        claims = {
            "sub": str(session.user_id),
            "jti": session.id,
            "iat": now,
            "exp": session.expires_at,
        }
        return jwt.encode(claims, self._key, self.ALGORITHM), session

    async def read(self, token: str) -> Session:
        """Return what a token says.

        Raises:
            CredentialError: it is not ours, has expired, or was revoked.
            UnavailableError: nobody can say whether it was revoked.
        """
        try:
            claims = jwt.decode(
                token,
                self._key,
                # Fixed: a token must not choose how it is checked.
                algorithms=[self.ALGORITHM],
                # PyJWT would compare the times with its own clock; ours does so below.
                options={"require": [*self.CLAIMS], "verify_exp": False, "verify_iat": False},
            )
            expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
            session = Session(claims["jti"], UUID(claims["sub"]), expires_at)
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError) as error:
            raise errors.CredentialError("this session token is not valid") from error
        if session.expires_at <= self._clock.now() or await self._sessions.is_revoked(session.id):
            raise errors.CredentialError("this session token is no longer valid")
        return session

    async def revoke(self, session: Session) -> None:
        """Make the token of this session useless."""
        await self._sessions.revoke(session.id, session.expires_at)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
