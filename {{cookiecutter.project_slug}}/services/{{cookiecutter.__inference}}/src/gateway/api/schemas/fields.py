"""Field types of bodies, and factories of models from the domain's dataclasses."""

import re
from collections.abc import Collection
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any, get_type_hints

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
    create_model,
)

from ... import accounts

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _text(value: object) -> object:
    # pydantic would also accept numbers, as seconds since the epoch.
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("must be a time such as 2030-01-31T12:00:00Z")
    return value


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is too far from now") from error


Instant = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_utc)]
_LEAST, _MOST = accounts.PASSWORD_LENGTHS
Password = Annotated[
    str,
    AfterValidator(accounts.check_password),
    WithJsonSchema(
        {"type": "string", "format": "password", "minLength": _LEAST, "maxLength": _MOST}
    ),
]


def example(**fields: JsonValue) -> ConfigDict:
    """Return a model config with an example body for the OpenAPI page."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Body(BaseModel):
    """Request body."""

    model_config = ConfigDict(extra="forbid")


def sent(
    name: str, doc: str, kind: type, but: Collection[str] = (), *, patch: bool = False, **more: Any
) -> type[Body]:
    """Return a model of a request body with the fields of a dataclass and their rules.

    In a patch all are optional. Their defaults are never used: fields that are not sent stay.
    """
    hints = get_type_hints(kind, include_extras=True)
    left_out: Any = Field(default_factory=list)
    found: dict[str, Any] = {
        each.name: (hints[each.name], left_out if patch else each)
        for each in fields(kind)
        if each.name not in but
    }
    return create_model(name, __base__=Body, __doc__=doc, **found, **more)


def shown(kind: type, but: Collection[str] = (), **more: Any) -> type[BaseModel]:
    """Return a model of a response body with the fields of a dataclass.

    Without their rules, so that data which is older than a rule can still be shown.
    """
    hints = get_type_hints(kind).items()
    found: dict[str, Any] = {each: (hint, ...) for each, hint in hints if each not in but} | more
    config = ConfigDict(from_attributes=True)
    return create_model(kind.__name__, __config__=config, __doc__=kind.__doc__, **found)
