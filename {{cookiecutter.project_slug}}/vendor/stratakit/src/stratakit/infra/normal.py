"""The form of a plan that policies read: the same for a real plan and for a shadow."""

from collections.abc import Iterator, Mapping
from typing import Any


def form(plan: Mapping[str, Any], module: str, cloud: str) -> dict[str, Any]:
    """Return what policies read of one module in `terraform show -json`.

    Args:
        plan: of the module itself, or of its shadow, as a part.
        module: the name by which it is a part.
        cloud: aws, gcp or hetzner.
    """
    call = plan["configuration"]["root_module"]["module_calls"][module]
    given, declared = call["expressions"], call["module"].get("variables", {})

    def value(name: str) -> Any:
        default = declared.get(name, {}).get("default")
        return given.get(name, {}).get("constant_value", default)

    prefix = f"module.{module}"
    parts = plan["planned_values"]["root_module"].get("child_modules", [])
    return {
        "cloud": cloud,
        "environment": value("environment"),
        "region": value("region") or value("location"),
        "resources": [
            {**each, "address": each["address"].removeprefix(f"{prefix}.")}
            for part in parts
            if part["address"] == prefix
            for each in _resources(part)
        ],
    }


def _resources(module: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for each in module.get("resources", []):
        if each["mode"] == "managed":
            yield _shadowed(each) if each["type"] == "terraform_data" else _plain(each)
    for child in module.get("child_modules", []):
        yield from _resources(child)


def _plain(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {key: resource[key] for key in ("address", "type", "values")}


def _shadowed(resource: Mapping[str, Any]) -> dict[str, Any]:
    kind, _, name = resource["name"].partition("__")
    address = resource["address"].replace(f"terraform_data.{kind}__{name}", f"{kind}.{name}")
    values = resource["values"].get("input") or {}
    return {"address": address, "type": kind, "values": values}
