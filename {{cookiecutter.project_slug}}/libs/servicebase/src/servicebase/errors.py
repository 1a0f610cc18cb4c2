"""What can go wrong, in words that a client may read. A service adds its own beside these."""

from uuid import UUID


class ServiceError(Exception):
    """Base of every error that an API answers with a status of its own."""


class NotFoundError(ServiceError):
    """There is no such thing."""

    def __init__(self, kind: str, id_: UUID | str) -> None:
        super().__init__(f"there is no {kind} {id_}")


class ConflictError(ServiceError):
    """`field` must be unique, and another one has the value already."""

    def __init__(self, field: str) -> None:
        super().__init__(f"another one has this {field}")
        self.field = field


class InvalidError(ServiceError, ValueError):
    """The value of `field` breaks a rule; also a ValueError, as pydantic's validators expect."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field


class InvalidReferenceError(ServiceError):
    """`field` is the id of something that does not exist."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is the id of nothing that exists")
        self.field = field


class KeyReusedError(ServiceError):
    """An idempotency key came a second time, with another body."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used with another body; use a new key")


class UnavailableError(ServiceError):
    """`server` does not answer; the same request may succeed later, after so many seconds."""

    def __init__(self, server: str, retry_after: float = 1) -> None:
        super().__init__(f"{server} is not available")
        self.server = server
        self.retry_after = retry_after
