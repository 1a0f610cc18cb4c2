"""Request bodies. The rules are the domain's."""

from typing import cast

from pydantic import BaseModel

from servicebase import values

from .. import domain


class {{ cookiecutter.__class }}Patch(BaseModel, extra="forbid"):
    """Body of an update: the fields to replace, each as a whole."""

    # Defaults are for creation: an update leaves missing fields unchanged, and null is invalid.
    # The default of `name` is never used.
    name: domain.{{ cookiecutter.__class }}Name = ""
    quantity: domain.{{ cookiecutter.__class }}Quantity = 0
    tags: values.Tags = ()
    attributes: values.JsonObject = {}

    def changes(self) -> domain.{{ cookiecutter.__class }}Changes:
        """Return the fields that were sent."""
        sent = self.model_dump(exclude_unset=True)
        return cast("domain.{{ cookiecutter.__class }}Changes", sent)


class {{ cookiecutter.__class }}Create({{ cookiecutter.__class }}Patch):
    """Body of a creation: the same fields, with a required name."""

    name: domain.{{ cookiecutter.__class }}Name

    def new(self) -> domain.New{{ cookiecutter.__class }}:
        """Return the domain's dataclass."""
        return domain.New{{ cookiecutter.__class }}(**self.model_dump())
