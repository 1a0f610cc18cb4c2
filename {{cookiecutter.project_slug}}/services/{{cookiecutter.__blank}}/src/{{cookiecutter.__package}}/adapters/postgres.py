"""Repository on PostgreSQL."""

import sqlalchemy as sa

from servicebase import postgres_repository

from .. import domain, models


class PostgresRepository(
    postgres_repository.PostgresRepository[
        domain.New{{ cookiecutter.__class }},
        domain.{{ cookiecutter.__class }},
        domain.{{ cookiecutter.__class }}Changes,
        models.{{ cookiecutter.__class }}Row,
    ]
):
    """Repository of {{ cookiecutter.__resources }} in a table."""

    row = models.{{ cookiecutter.__class }}Row
    kind = domain.{{ cookiecutter.__class }}
    name = "{{ cookiecutter.resource }}"

    def matches(self, search: str) -> sa.ColumnElement[bool]:
        """Return the condition that the name begins with `search`, or a tag equals it."""
        begins = sa.func.lower(self.row.name).startswith(search, autoescape=True)
        return begins | self.row.tags.contains([search])
