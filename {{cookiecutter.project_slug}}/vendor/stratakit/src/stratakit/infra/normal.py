"""Normalized plans for policies, in one format for real plans and shadows."""

from collections.abc import Iterator, Mapping
from typing import Any


def form(plan: Mapping[str, Any], module: str, cloud: str) -> dict[str, Any]:
    """Return the input for policies about one module, from `terraform show -json`.

    Args:
        plan: the plan of a root module that calls the module, or its shadow, as a child.
        module: the name of that child module.
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
