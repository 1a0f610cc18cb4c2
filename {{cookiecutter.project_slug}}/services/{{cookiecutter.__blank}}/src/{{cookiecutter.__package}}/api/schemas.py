"""Bodies of requests and responses. The rules are the domain's."""

from typing import cast

from pydantic import BaseModel, ConfigDict

from servicebase import values

from .. import domain


class {{ cookiecutter.__class }}Create(BaseModel):
    """What a client sends to create one."""

    model_config = ConfigDict(extra="forbid")

    name: domain.{{ cookiecutter.__class }}Name
    quantity: domain.{{ cookiecutter.__class }}Quantity = 0
    tags: values.Tags = ()
    attributes: values.JsonObject = {}

    def new(self) -> domain.New{{ cookiecutter.__class }}:
        """Return it as the domain knows it."""
        return domain.New{{ cookiecutter.__class }}(**self.model_dump())


class {{ cookiecutter.__class }}Patch(BaseModel):
    """What a client sends to change one: the fields to replace, each as a whole."""

    model_config = ConfigDict(extra="forbid")

    # The defaults are never used: a field that was not sent is not changed, and null is no value.
    name: domain.{{ cookiecutter.__class }}Name = ""
    quantity: domain.{{ cookiecutter.__class }}Quantity = 0
    tags: values.Tags = ()
    attributes: values.JsonObject = {}

    def changes(self) -> domain.{{ cookiecutter.__class }}Changes:
        """Return the fields that were sent."""
        sent = self.model_dump(exclude_unset=True)
        return cast("domain.{{ cookiecutter.__class }}Changes", sent)
