"""The form of a plan that policies read: the same for a real plan and for a shadow."""

from collections.abc import Iterator, Mapping
from typing import Any


def form(plan: Mapping[str, Any], cloud: str) -> dict[str, Any]:
    """Return what policies read of `terraform show -json`.

    Args:
        plan: of a module itself, or of its shadow.
        cloud: aws, gcp or hetzner.
    """
    given = {name: each.get("value") for name, each in plan.get("variables", {}).items()}
    return {
        "cloud": cloud,
        "environment": given.get("environment"),
        "region": given.get("region", given.get("location")),
        "resources": [*_resources(plan["planned_values"]["root_module"])],
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
    index = f"[{resource['index']}]" if "index" in resource else ""
    values = resource["values"].get("input") or {}
    return {"address": f"{kind}.{name}{index}", "type": kind, "values": values}
