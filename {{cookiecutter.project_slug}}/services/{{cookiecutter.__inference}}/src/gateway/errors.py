"""What can go wrong, in words that a client may read. api/error_handlers.py has the statuses."""

from typing import TYPE_CHECKING

from servicebase.errors import (
    ConflictError,
    InvalidError,
    InvalidReferenceError,
    NotFoundError,
    ServiceError,
    UnavailableError,
)

if TYPE_CHECKING:
    from .domain import Limits
    from .ports import Admission

__all__ = [
    "BackendError",
    "BudgetError",
    "ConflictError",
    "CredentialError",
    "InvalidError",
    "InvalidIdError",
    "InvalidReferenceError",
    "NotFoundError",
    "OverloadedError",
    "RateLimitedError",
    "ServiceError",
    "ThrottledError",
    "UnavailableError",
    "UnknownModelError",
    "UnreadableError",
    "VersionConflictError",
]


class InvalidIdError(ServiceError):
    """What was given as an id is no UUID."""

    def __init__(self, field: str = "id") -> None:
        super().__init__(f"{field} must be a UUID")
        self.field = field


class VersionConflictError(ServiceError):
    """It is no longer the version that the caller has seen."""

    def __init__(self, kind: str, expected: int) -> None:
        super().__init__(f"this {kind} is no longer at version {expected}; read it again")


class CredentialError(ServiceError):
    """No credential, or one that is wrong, expired or revoked: the client is not told which."""


class UnknownModelError(ServiceError):
    """The team has no such model."""

    def __init__(self, model: str) -> None:
        super().__init__(f"the model {model!r} does not exist, or your team has no access to it")
        self.field = "model"


class RateLimitedError(ServiceError):
    """The team has used up its quota; the admission says when there will be enough again."""

    def __init__(self, limits: "Limits", admission: "Admission") -> None:
        what = admission.refused or "requests"
        super().__init__(
            f"your team's limit of {getattr(limits, what)} {what} per minute is reached"
        )
        self.limits = limits
        self.admission = admission


class ThrottledError(ServiceError):
    """There were too many `message` of late; in `retry_after` seconds there may be one again."""

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(f"too many {what}; try again later")
        self.retry_after = retry_after


class BudgetError(ServiceError):
    """What is left of the team's budget does not pay for the request."""

    def __init__(self) -> None:
        super().__init__("your team's budget does not pay for this request")


class OverloadedError(ServiceError):
    """All slots for requests to backends are taken."""

    def __init__(self) -> None:
        super().__init__("the gateway is at its limit of requests at once; try again")


class BackendError(ServiceError):
    """The backend answered, and not with a completion."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"{provider} failed: {reason}")


class UnreadableError(ServiceError):
    """A stored value cannot be read; somebody has to fix what is under `key`."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the stored value of {key} cannot be read")
