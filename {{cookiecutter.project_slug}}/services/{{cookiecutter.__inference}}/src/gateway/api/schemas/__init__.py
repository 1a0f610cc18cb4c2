"""Request and response bodies."""

from pydantic import BaseModel, ConfigDict, JsonValue


class Body(BaseModel):
    """Request body."""

    model_config = ConfigDict(extra="forbid")


def example(**fields: JsonValue) -> ConfigDict:
    """Return a model config with an example body for the OpenAPI page."""
    return ConfigDict(json_schema_extra={"examples": [fields]})
