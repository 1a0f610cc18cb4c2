"""Errors whose messages clients may read. A service adds its own to these."""

from uuid import UUID


class ServiceError(Exception):
    """Base of the errors that have their own status in an API."""


class NotFoundError(ServiceError):
    """Resource that does not exist."""

    def __init__(self, kind: str, id_: UUID | str) -> None:
        super().__init__(f"there is no {kind} {id_}")


class ConflictError(ServiceError):
    """Value of `field` that must be unique but is already taken."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is already taken")
        self.field = field


class InvalidError(ServiceError, ValueError):
    """Invalid value of `field`; also a ValueError, as pydantic's validators expect."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field


class InvalidReferenceError(ServiceError):
    """Id in `field` of something that does not exist."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} does not refer to an existing resource")
        self.field = field


class KeyReusedError(ServiceError):
    """Idempotency key that was used before, with another body."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used with another body; use a new key")


class UnavailableError(ServiceError):
    """Unavailable server; the same request may succeed after `retry_after` seconds."""

    def __init__(self, server: str, retry_after: float = 1) -> None:
        super().__init__(f"{server} is not available")
        self.server = server
        self.retry_after = retry_after
