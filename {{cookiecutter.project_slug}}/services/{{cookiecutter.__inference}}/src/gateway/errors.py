"""What can go wrong, in words that a client may read. api/error_handlers.py has the statuses."""

from typing import TYPE_CHECKING

from servicebase import errors as kit

if TYPE_CHECKING:
    from .domain import Limits
    from .ports import Admission

ServiceError = kit.ServiceError
ConflictError = kit.ConflictError
InvalidError = kit.InvalidError
InvalidReferenceError = kit.InvalidReferenceError
NotFoundError = kit.NotFoundError
UnavailableError = kit.UnavailableError


class VersionConflictError(ServiceError):
    """It is no longer the version that the caller has seen."""


class CredentialError(ServiceError):
    """No credential, or one that is wrong, expired or revoked: the client is not told which."""


class UnknownModelError(ServiceError):
    """The team has no such model, or nobody gets it."""

    field = "model"

    def __init__(self, model: str, why: str = "") -> None:
        why = why or "does not exist, or your team has no access to it"
        super().__init__(f"the model {model!r} {why}")


class RegistrationClosedError(ServiceError):
    """Nobody registers by themselves here."""


class UnsupportedError(ServiceError):
    """The backend of a model cannot do what `field` asks for."""

    def __init__(self, field: str, model: str) -> None:
        super().__init__(f"{field} is not supported by the model {model!r}")
        self.field = field


class QuotaError(ServiceError):
    """The request is more than the team's whole quota of a minute: no waiting helps."""

    def __init__(self, what: str, wanted: int, limit: int) -> None:
        quota = f"your team's quota is {limit} {what} a minute"
        super().__init__(f"{quota}, and this may take {wanted} of them")


class RateLimitedError(ServiceError):
    """The team has used up its quota; the admission says when there will be enough again."""

    def __init__(self, limits: "Limits", admission: "Admission") -> None:
        what = admission.refused or "requests"
        most = getattr(limits, what)
        super().__init__(f"your team's limit of {most} {what} per minute is reached")
        self.limits, self.admission = limits, admission
        self.retry_after = admission.retry_after


class ThrottledError(ServiceError):
    """There were too many `message` of late; in `retry_after` seconds there may be one again."""

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(f"too many {what}; try again later")
        self.retry_after = retry_after


class BudgetError(ServiceError):
    """What is left of the team's budget does not pay for the request."""


class OverloadedError(ServiceError):
    """All slots for requests to backends are taken."""

    retry_after = 1

    def __init__(self) -> None:
        super().__init__("the gateway is at its limit of requests at once; try again")


class BackendError(ServiceError):
    """The backend answered, and not with a completion.

    It is `final` if the same request would fare no better: the gateway's key or URL is wrong.
    """

    def __init__(self, provider: str, reason: str, *, final: bool = False) -> None:
        super().__init__(f"{provider} failed: {reason}")
        self.final = final


class RefusedError(ServiceError):
    """The backend finds the request wrong; the words, the field and the code are its own."""

    def __init__(self, message: str, field: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.code = code


class UnreadableError(ServiceError):
    """A stored value cannot be read; somebody has to fix it."""
