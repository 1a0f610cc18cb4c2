"""The repository without a server."""

from servicebase import repository

from .. import domain


class MemoryRepository(
    repository.MemoryRepository[
        domain.New{{ cookiecutter.__class }},
        domain.{{ cookiecutter.__class }},
        domain.{{ cookiecutter.__class }}Changes,
    ]
):
    """Keeps every {{ cookiecutter.resource }} in a dict."""

    kind = domain.{{ cookiecutter.__class }}
    name = "{{ cookiecutter.resource }}"
    unique = ("name",)

    def matches(self, found: domain.{{ cookiecutter.__class }}, search: str) -> bool:
        """Return whether `search` is the beginning of the name, or a tag."""
        return found.name.lower().startswith(search) or search in found.tags
