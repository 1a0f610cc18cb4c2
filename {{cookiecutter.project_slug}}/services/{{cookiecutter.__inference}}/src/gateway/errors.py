"""What can go wrong, in words that a client may read. api/failures.py has the statuses."""

from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from .domain import Limits
    from .ports import Admission


class GatewayError(Exception):
    """Base of every error that the API answers with a status of its own."""


class InvalidError(GatewayError, ValueError):
    """The value of `field` breaks a rule; also a ValueError, as pydantic's validators expect."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field


class InvalidIdError(GatewayError):
    """What was given as an id is no UUID."""

    def __init__(self, field: str = "id") -> None:
        super().__init__(f"{field} must be a UUID")
        self.field = field


class NotFoundError(GatewayError):
    """There is no such thing."""

    def __init__(self, kind: str, id_: UUID | str) -> None:
        super().__init__(f"there is no {kind} {id_}")


class ConflictError(GatewayError):
    """`field` must be unique, and another one has the value already."""

    def __init__(self, field: str) -> None:
        super().__init__(f"another one has this {field}")
        self.field = field


class DanglingError(GatewayError):
    """`field` is the id of something that does not exist."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is the id of nothing that exists")
        self.field = field


class ChangedError(GatewayError):
    """It is no longer the version that the caller has seen."""

    def __init__(self, kind: str, expected: int) -> None:
        super().__init__(f"this {kind} is no longer at version {expected}; read it again")


class CredentialError(GatewayError):
    """No credential, or one that is wrong, expired or revoked: the client is not told which."""


class UnknownModelError(GatewayError):
    """The team has no such model."""

    def __init__(self, model: str) -> None:
        super().__init__(f"the model {model!r} does not exist, or your team has no access to it")
        self.field = "model"


class LimitedError(GatewayError):
    """The team has used up its quota; the admission says when there will be enough again."""

    def __init__(self, limits: "Limits", admission: "Admission") -> None:
        what = admission.refused or "requests"
        super().__init__(
            f"your team's limit of {getattr(limits, what)} {what} per minute is reached"
        )
        self.limits = limits
        self.admission = admission


class ThrottledError(GatewayError):
    """There were too many `message` of late; in `retry_after` seconds there may be one again."""

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(f"too many {what}; try again later")
        self.retry_after = retry_after


class BudgetError(GatewayError):
    """What is left of the team's budget does not pay for the request."""

    def __init__(self) -> None:
        super().__init__("your team's budget does not pay for this request")


class OverloadedError(GatewayError):
    """All slots for requests to backends are taken."""

    def __init__(self) -> None:
        super().__init__("the gateway is at its limit of requests at once; try again")


class BackendError(GatewayError):
    """The backend answered, and not with a completion."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"{provider} failed: {reason}")


class UnreadableError(GatewayError):
    """A stored value cannot be read; somebody has to fix what is under `key`."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the stored value of {key} cannot be read")


class UnavailableError(GatewayError):
    """`server` does not answer; the same request may succeed later."""

    def __init__(self, server: str) -> None:
        super().__init__(f"{server} is not available")
        self.server = server
