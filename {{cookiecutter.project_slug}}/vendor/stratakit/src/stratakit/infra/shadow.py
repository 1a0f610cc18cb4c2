"""Shadows: Terraform modules rewritten so that they can be planned without their provider.

Each resource becomes a `terraform_data`, which is built into Terraform, with the resource's
arguments as its input. Terraform itself then resolves variables, locals, modules, conditions and
dynamic blocks. The provider's part (defaults, computed values, validation against its schema) is
missing, so such a plan is called a shadow, and does not count as a validation.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2

OPTIONS = hcl2.SerializationOptions(
    strip_string_quotes=True, explicit_blocks=False, with_comments=False
)
META = ("count", "for_each")
"""Meta-arguments that Terraform itself evaluates; they are kept in place."""
DROPPED = ("depends_on", "lifecycle", "provider", "provisioner", "connection", "timeouts")
"""Arguments and blocks that do not matter in a plan that is never applied."""

Body = dict[str, Any]


def write(module: Path, target: Path) -> None:
    """Write the shadow of a module into an existing folder, as `main.tf.json`."""
    parsed: dict[str, list[Body]] = {}
    for file in sorted(module.glob("*.tf")):
        for kind, bodies in _read(file).items():
            parsed.setdefault(kind, []).extend(bodies)
    (target / "main.tf.json").write_text(json.dumps(_shadow(parsed), indent=1), encoding="utf-8")


def _shadow(parsed: Mapping[str, list[Body]]) -> Body:
    resources = {
        (kind, name): body
        for block in parsed.get("resource", [])
        for kind, named in block.items()
        for name, body in named.items()
    }
    references = _references(resources)
    shadows = {}
    for (kind, name), body in resources.items():
        kept = {key: body[key] for key in META if key in body}
        shadows[f"{kind}__{name}"] = references(kept | {"input": _arguments(body)})
    shadow: Body = {"resource": {"terraform_data": shadows}} if shadows else {}
    for block in parsed.get("variable", []):
        for name, body in block.items():
            typed = {"type": _bare(body["type"])} if "type" in body else {}
            shadow.setdefault("variable", {})[name] = body | typed
    for kind in ("locals", "module"):
        for block in parsed.get(kind, []):
            shadow.setdefault(kind, {}).update(references(block))
    return shadow


def _arguments(body: Body) -> Body:
    """Return the arguments of a block, with dynamic blocks as `for` expressions."""
    arguments = {
        key: [_arguments(each) if isinstance(each, dict) else each for each in value]
        if isinstance(value, list)
        else value
        for key, value in body.items()
        if key not in (*META, *DROPPED, "dynamic")
    }
    for name, block in _dynamic(body):
        iterator = _bare(block.get("iterator", name))
        (content,) = block["content"]
        made = re.sub(
            rf"\b{iterator}\.(key|value)\b", r"each__\1", _expression(_arguments(content))
        )
        over = block["for_each"]
        over = _bare(over) if isinstance(over, str) else _expression(over)
        repeated = f"[for each__key, each__value in {over} : {made}]"
        fixed = _expression(arguments.get(name, []))
        arguments[name] = f"${{concat({fixed}, {repeated})}}"
    return arguments


def _dynamic(body: Body) -> Iterator[tuple[str, Body]]:
    for block in body.get("dynamic", []):
        yield from block.items()


def _references(resources: Mapping[tuple[str, str], Body]) -> Any:
    """Return a function that rewrites references to resources, in strings at any depth."""
    kinds = "|".join(sorted({re.escape(kind) for kind, _ in resources})) or "(?!)"
    pattern = re.compile(
        rf"\b(?P<kind>{kinds})\.(?P<name>\w+)(?P<index>\[[^\]]*\])?(?:\.(?P<attribute>\w+))?"
    )

    def rewritten(match: re.Match[str]) -> str:
        kind, name, index, attribute = match.group("kind", "name", "index", "attribute")
        shadow = f"terraform_data.{kind}__{name}{index or ''}"
        if attribute is None:
            return shadow
        given = attribute in resources.get((kind, name), {})
        return f"{shadow}.input.{attribute}" if given else f"{shadow}.id"

    def rewrite(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(rewritten, value) if "${" in value else value
        if isinstance(value, list):
            return [rewrite(each) for each in value]
        if isinstance(value, dict):
            return {key: rewrite(each) for key, each in value.items()}
        return value

    return rewrite


def _expression(value: Any) -> str:
    """Return a value as an HCL expression."""
    if isinstance(value, str):
        whole = re.fullmatch(r"\$\{(.*)\}", value, re.DOTALL)
        return f"({whole[1]})" if whole and "${" not in whole[1] else json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_expression, value))}]"
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {_expression(each)}" for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}"
    return json.dumps(value)


def _bare(text: str) -> str:
    """Return an expression without the braces that python-hcl2 puts around it."""
    whole = re.fullmatch(r"\$\{(.*)\}", text, re.DOTALL)
    return whole[1] if whole else text


def _read(file: Path) -> Body:
    """Return the contents of an HCL file; exit with its name if it is invalid."""
    with file.open(encoding="utf-8") as stream:
        try:
            read: Body = hcl2.load(stream, serialization_options=OPTIONS)
        except Exception as error:  # noqa: BLE001 - the parser's errors come from another package
            sys.exit(f"infra/terraform/{file.parent.name}/{file.name} is not HCL: {error}")
    return read


def main() -> None:
    """Write `NAME-shadow` beside each named module; print their values from `dev.tfvars`."""
    folder = Path(sys.argv[1])
    values = {}
    for name in sys.argv[2:]:
        target = folder / f"{name}-shadow"
        target.mkdir()
        write(folder / name, target)
        values[name] = _read(folder / name / "dev.tfvars")
    json.dump(values, sys.stdout)


if __name__ == "__main__":
    main()
