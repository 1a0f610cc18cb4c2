"""Renaming of a service: the same files as in a bake with the new name."""

import json
import re
import shutil
import sys
from pathlib import Path

import baking
import pytest
from baking import INFERENCE, Bake, Bakery

# Only computes the renaming: needs the standard library alone, and writes nothing.
SCRIPT = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
from stratakit import project
from stratakit.scaffold.mentions import Renaming

old, new = project.service(sys.argv[1]), sys.argv[2]
package = new.replace("-", "_")
fresh = replace(old, name=new, package=package, distribution=sys.argv[3])
renaming = Renaming(old, fresh)
texts, left = {}, []
for file in map(Path, json.loads(sys.stdin.read())):
    text = renaming.text(file.as_posix(), file.read_text(encoding="utf-8"))
    left += renaming.left(file.as_posix(), text)
    parts = [*file.parts]
    if file.is_relative_to(Path("services", old.name)):
        parts[1] = new
        if parts[2:4] == ["src", old.package]:
            parts[3] = package
    texts["/".join(parts)] = text
print(json.dumps([texts, left]))
"""


def renamed(project: Bake, old: str, new: str) -> tuple[dict[str, str], list[str]]:
    """Return the files of a project after a renaming, and the lines left to do by hand."""
    files = [each for each in project.contents() if not each.startswith("vendor/")]
    distribution = f"{project.path.name}-{new}"
    code = str(project.path / "vendor/stratakit/src")
    done = baking.run(
        *(sys.executable, "-B", "-c", SCRIPT, old, new, distribution),
        cwd=project.path,
        env={**project.environment, "PYTHONPATH": code},
        typed=json.dumps(files),
    )
    texts, left = json.loads(done.stdout)
    return texts, left


def texts_of(project: Bake) -> dict[str, str]:
    """Return the content of all files that are not vendored."""
    return {
        name: held.decode()
        for name, held in project.contents().items()
        if not name.startswith("vendor/")
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stock", "ledger"),
        ("stock", "customer-stock-api"),
        ("customer-stock-api", "b"),
        ("order-history", "orders"),
        # Names that also occur elsewhere, as modules and in URLs.
        ("api", "stock"),
        ("items", "stock"),
        ("users", "api"),
        ("gateway", "front-door"),
    ],
)
def test_a_renamed_service_equals_a_bake_with_the_new_name(
    old: str, new: str, bake: Bakery
) -> None:
    texts, left = renamed(bake(service=old), old, new)
    baked = texts_of(bake(service=new))
    assert texts.keys() == baked.keys()
    # One by one: a diff of all files at once would be unreadable.
    for name, text in baked.items():
        assert texts[name] == text, name
    assert old in ("api", "items", "users", "gateway") or left == []


def test_renaming_a_service_leaves_the_libraries_unchanged(bake: Bakery) -> None:
    with_one = bake(service="stock")
    texts, _ = renamed(with_one, "stock", "ledger")
    before = texts_of(with_one)
    kit = {name for name in before if name.startswith("libs/")}
    assert {name: texts[name] for name in kit} == {name: before[name] for name in kit}


def test_renaming_a_service_leaves_one_with_a_similar_name_unchanged(
    bake: Bakery, tmp_path: Path
) -> None:
    project = bake.into(tmp_path, service="stock")
    for name in ("stock-history", "old-stock"):
        other = bake(service=name).path / "services" / name
        shutil.copytree(other, project.path / "services" / name)
    before = texts_of(project)
    texts, left = renamed(project, "stock", "ledger")
    theirs = {name for name in before if re.match("services/(stock-history|old-stock)/", name)}
    assert {name.split("/")[1] for name in theirs} == {"stock-history", "old-stock"}
    for name in theirs:
        assert texts[name] == before[name], name
    assert left == []
    assert "LEDGER_PORT" in texts["services/ledger/Dockerfile"]


def test_renaming_the_example_changes_all_code_and_leaves_only_prose_by_hand(bake: Bakery) -> None:
    texts, left = renamed(bake(INFERENCE), "gateway", "front-door")
    own = {name: text for name, text in texts.items() if name.startswith("services/front-door/")}
    assert own
    for name, text in own.items():
        assert "services/gateway" not in text, name
        assert "from gateway" not in text, name
        assert "GATEWAY_" not in text, name
    assert not [line for line in left if "import" in line or "GATEWAY" in line]
