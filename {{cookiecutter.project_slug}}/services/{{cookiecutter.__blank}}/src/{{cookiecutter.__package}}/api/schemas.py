"""Bodies of requests and responses. The rules are the domain's."""

from typing import Annotated, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, Strict

from servicebase.values import TAG_COUNT

from .. import domain

Name = Annotated[
    str,
    AfterValidator(domain.check_name),
    Field(json_schema_extra={"minLength": 1, "maxLength": domain.NAME_LENGTH}),
]
Quantity = Annotated[
    int,
    Strict(),
    AfterValidator(domain.check_quantity),
    Field(json_schema_extra={"minimum": 0, "maximum": domain.QUANTITY_LIMIT}),
]
Tags = Annotated[
    tuple[str, ...],
    AfterValidator(domain.check_tags),
    Field(json_schema_extra={"maxItems": TAG_COUNT}),
]
Attributes = Annotated[dict[str, JsonValue], AfterValidator(domain.check_attributes)]


class {{ cookiecutter.__class }}Create(BaseModel):
    """What a client sends to create one."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    quantity: Quantity = 0
    tags: Tags = ()
    attributes: Attributes = {}

    def new(self) -> domain.New{{ cookiecutter.__class }}:
        """Return it as the domain knows it."""
        return domain.New{{ cookiecutter.__class }}(**self.model_dump())


class {{ cookiecutter.__class }}Patch(BaseModel):
    """What a client sends to change one: the fields to replace, each as a whole."""

    model_config = ConfigDict(extra="forbid")

    # The defaults are never used: a field that was not sent is not changed, and null is no value.
    name: Name = ""
    quantity: Quantity = 0
    tags: Tags = ()
    attributes: Attributes = {}

    def changes(self) -> domain.{{ cookiecutter.__class }}Changes:
        """Return the fields that were sent."""
        sent = self.model_dump(exclude_unset=True)
        return cast("domain.{{ cookiecutter.__class }}Changes", sent)
