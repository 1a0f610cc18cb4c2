"""Errors, with messages that clients may read. api/error_handlers.py has the statuses."""

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
    """The version that the caller has seen is no longer the current one."""


class CredentialError(ServiceError):
    """Missing, wrong, expired or revoked credential: the client is not told which."""


class UnknownModelError(ServiceError):
    """Model that does not exist, or that is not available to the team."""

    field = "model"

    def __init__(self, model: str, why: str = "") -> None:
        why = why or "does not exist, or your team has no access to it"
        super().__init__(f"the model {model!r} {why}")


class RegistrationClosedError(ServiceError):
    """Registration is disabled in the settings."""


class UnsupportedError(ServiceError):
    """The backend of a model does not support `field`."""

    def __init__(self, field: str, model: str) -> None:
        super().__init__(f"{field} is not supported by the model {model!r}")
        self.field = field


class QuotaError(ServiceError):
    """The request exceeds the team's whole quota of a minute: waiting does not help."""

    def __init__(self, what: str, wanted: int, limit: int) -> None:
        quota = f"your team's quota is {limit} {what} a minute"
        super().__init__(f"{quota}, but this request may take {wanted}")


class RateLimitedError(ServiceError):
    """The team's quota is used up; the admission says when there will be enough again."""

    def __init__(self, limits: "Limits", admission: "Admission") -> None:
        what = admission.refused or "requests"
        most = getattr(limits, what)
        super().__init__(f"your team's limit of {most} {what} per minute is reached")
        self.limits, self.admission = limits, admission
        self.retry_after = admission.retry_after


class ThrottledError(ServiceError):
    """Too many `what` recently; the next one is allowed in `retry_after` seconds."""

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(f"too many {what}; try again later")
        self.retry_after = retry_after


class BudgetError(ServiceError):
    """The rest of the team's budget does not cover the request."""


class OverloadedError(ServiceError):
    """All slots for concurrent requests are taken."""

    retry_after = 1

    def __init__(self) -> None:
        super().__init__("the gateway is at its limit of concurrent requests; try again")


class BackendError(ServiceError):
    """The backend's response is not a completion.

    It is `final` if a retry would fail as well: the gateway's key or URL is wrong.
    """

    def __init__(self, provider: str, reason: str, *, final: bool = False) -> None:
        super().__init__(f"{provider} failed: {reason}")
        self.final = final


class RefusedError(ServiceError):
    """The backend refused the request; the message, the field and the code are its own."""

    def __init__(self, message: str, field: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.code = code


class UnreadableError(ServiceError):
    """A stored value cannot be read, and must be fixed by hand."""
