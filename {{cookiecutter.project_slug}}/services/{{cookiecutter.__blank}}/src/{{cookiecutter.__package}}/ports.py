"""What the service asks of the outside; adapters/ has the answers."""

from dataclasses import dataclass

from servicebase.idempotency import IdempotencyStore
from servicebase.repository import Repository

from . import domain

{{ cookiecutter.__class }}Repository = Repository[
    domain.New{{ cookiecutter.__class }},
    domain.{{ cookiecutter.__class }},
    domain.{{ cookiecutter.__class }}Changes,
]
"""Where every {{ cookiecutter.resource }} is kept. Names are unique.

A search picks those whose name begins with it, or of which it is a tag; letter case does not count
(beyond ASCII, as far as the database's locale knows it).
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """All that the service needs from outside."""

    repository: {{ cookiecutter.__class }}Repository
    idempotency: IdempotencyStore
