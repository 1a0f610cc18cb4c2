"""Repository in memory."""

from servicebase import repository

from .. import domain


class MemoryRepository(
    repository.MemoryRepository[
        domain.New{{ cookiecutter.__class }},
        domain.{{ cookiecutter.__class }},
        domain.{{ cookiecutter.__class }}Changes,
    ]
):
    """Repository of {{ cookiecutter.__resources }} in a dict."""

    kind = domain.{{ cookiecutter.__class }}
    name = "{{ cookiecutter.resource }}"
    unique = ("name",)

    def matches(self, found: domain.{{ cookiecutter.__class }}, search: str) -> bool:
        """Return whether the name begins with `search`, or a tag equals it."""
        return found.name.lower().startswith(search) or search in found.tags
