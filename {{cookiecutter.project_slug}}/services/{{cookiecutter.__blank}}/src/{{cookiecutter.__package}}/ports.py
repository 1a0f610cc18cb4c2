"""Ports of the service; adapters/ implements them."""

from dataclasses import dataclass

from servicebase.idempotency import IdempotencyStore
from servicebase.repository import Repository

from . import domain

{{ cookiecutter.__class }}Repository = Repository[
    domain.New{{ cookiecutter.__class }},
    domain.{{ cookiecutter.__class }},
    domain.{{ cookiecutter.__class }}Changes,
]
"""Repository of {{ cookiecutter.__resources }}. Names are unique.

A search matches the beginning of a name or a whole tag, ignoring case (beyond ASCII, as far as the
database's locale knows it).
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the service needs from outside."""

    repository: {{ cookiecutter.__class }}Repository
    idempotency: IdempotencyStore
