"""Bodies of requests and responses. The rules are the domain's."""

from typing import cast

from pydantic import BaseModel

from servicebase import values

from .. import domain


class {{ cookiecutter.__class }}Patch(BaseModel, extra="forbid"):
    """What a client sends to change one: the fields to replace, each as a whole."""

    # A default is for what is created: a field that was not sent is not changed, and null is no
    # value. That of a name is never used.
    name: domain.{{ cookiecutter.__class }}Name = ""
    quantity: domain.{{ cookiecutter.__class }}Quantity = 0
    tags: values.Tags = ()
    attributes: values.JsonObject = {}

    def changes(self) -> domain.{{ cookiecutter.__class }}Changes:
        """Return the fields that were sent."""
        sent = self.model_dump(exclude_unset=True)
        return cast("domain.{{ cookiecutter.__class }}Changes", sent)


class {{ cookiecutter.__class }}Create({{ cookiecutter.__class }}Patch):
    """What a client sends to create one: the same, and always a name."""

    name: domain.{{ cookiecutter.__class }}Name

    def new(self) -> domain.New{{ cookiecutter.__class }}:
        """Return it as the domain knows it."""
        return domain.New{{ cookiecutter.__class }}(**self.model_dump())
