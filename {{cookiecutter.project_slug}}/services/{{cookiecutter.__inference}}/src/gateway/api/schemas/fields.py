"""The fields of bodies. The rules are the domain's."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    Strict,
    ValidationInfo,
)

from servicebase import values

from ... import accounts, domain, errors

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _shown(**keywords: object) -> object:
    """Return what the OpenAPI page says of a rule that the domain checks."""
    return Field(json_schema_extra=dict(keywords))  # type: ignore[arg-type]


def _amount(value: int, info: ValidationInfo) -> int:
    return domain.check_amount(str(info.field_name), value)


def _text(value: object) -> object:
    # pydantic would also take numbers, for seconds of the epoch.
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("must be a time such as 2030-01-31T12:00:00Z")
    return value


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is too far from now") from error


Name = Annotated[str, values.Text(domain.NAME_LENGTH)]
# As it may be typed; and JSON has no lone surrogates, which not every engine knows in patterns.
_EMAIL = domain.EMAIL_PATTERN.pattern.replace(r"\ud800-\udfff", "").replace("a-z", "A-Za-z")
Email = Annotated[
    str,
    AfterValidator(domain.check_email),
    # Not as a format: most of what RFC 5322 allows is no address of anybody.
    _shown(pattern=f"^{_EMAIL}$", maxLength=domain.EMAIL_LENGTH),
]
Password = Annotated[
    str,
    AfterValidator(accounts.check_password),
    _shown(
        format="password",
        minLength=accounts.PASSWORD_LENGTHS[0],
        maxLength=accounts.PASSWORD_LENGTHS[1],
    ),
]
Amount = Annotated[
    int, Strict(), AfterValidator(_amount), _shown(minimum=0, maximum=domain.INTEGER_LIMIT)
]
_MODEL = _shown(pattern=f"^{domain.ALIAS_PATTERN.pattern}$")
Alias = Annotated[str, AfterValidator(domain.check_alias), _MODEL]
Model = Annotated[str, AfterValidator(partial(domain.check_alias, what="model")), _MODEL]
TargetModel = Annotated[str, AfterValidator(partial(domain.check_alias, what="target")), _MODEL]
Provider = Annotated[str, Field(max_length=100)]
Positive = Annotated[int, Strict(), Field(ge=1, le=domain.INTEGER_LIMIT)]
Tags = values.Tags
Parameters = values.JsonObject
Instant = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_utc)]


def example(**fields: JsonValue) -> ConfigDict:
    """Return what the OpenAPI page fills a body in with."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Body(BaseModel):
    """What a client sends. In a patch the defaults are never used: what was not sent stays."""

    model_config = ConfigDict(extra="forbid")

    def sent(self) -> dict[str, Any]:
        """Return what the client has sent, by the names of the fields."""
        return self.model_dump(exclude_unset=True)


def check_provider(backends: Mapping[str, object], provider: str) -> None:
    """Return if there is this provider.

    Raises:
        InvalidError: there is not.
    """
    if provider not in backends:
        raise errors.InvalidError("provider", f"must be one of {', '.join(sorted(backends))}")
