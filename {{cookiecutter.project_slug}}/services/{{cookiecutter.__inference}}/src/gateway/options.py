"""What the application is told besides its ports."""

from dataclasses import dataclass, field

from argon2 import PasswordHasher


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Choices that hold as long as the process lives."""

    admin_token: str = field(repr=False)
    """Who shows it may do anything in /admin."""
    secret: str = field(repr=False)
    """From which the keys of hashes and of session tokens are derived."""
    max_concurrency: int = 512
    """Requests that may be with backends at once."""
    max_concurrency_of_team: int = 128
    """How many of them may be one team's."""
    registration: bool = True
    """Whether anybody may register; without, administrators create teams and users."""
    session_ttl: int = 900
    """Seconds for which a session token is good."""
    hasher: PasswordHasher = field(default_factory=PasswordHasher, repr=False)
    """Of passwords. Tests have one that is cheaper."""
