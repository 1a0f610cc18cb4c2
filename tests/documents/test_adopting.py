"""Adoption of tiers and actions by an existing repository, following docs/adopting.md."""

import re
import shlex
import shutil
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import baking
import pytest
from baking import Bakery
from documents import Document
from project import Project

pytestmark = pytest.mark.proof(of="adopting")

ROOT = """
[project]
name = "shop"
version = "1.2.0"
requires-python = ">=3.11"
"""
SERVICE = """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "legacy"
version = "1.2.0"
requires-python = ">=3.11"

[tool.hatch.build.targets.wheel]
packages = ["src/legacy"]
"""
CODE = "def gross(net: int) -> int:\n    return net * 119 // 100\n"
TEST = "from legacy import gross\n\n\ndef test_gross() -> None:\n    assert gross(100) == 119\n"
FILES = {
    "pyproject.toml": ROOT,
    "README.md": "# Shop\n",
    "services/legacy/pyproject.toml": SERVICE,
    "services/legacy/src/legacy/__init__.py": CODE,
    "services/legacy/tests/unit/test_gross.py": TEST,
}


@pytest.fixture
def repository(bake: Bakery, tmp_path: Path) -> Project:
    """A small repository with a service of its own."""
    for name, text in FILES.items():
        file = tmp_path / "shop" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return Project(tmp_path / "shop", {}, bake.environment)


def test_an_existing_repository_adopts_the_tiers_as_the_guide_says(
    repository: Project, bake: Bakery
) -> None:
    aside = bake().path
    guide = Document(baking.ROOT / "docs" / "adopting.md")
    machinery, tables, service = _told(guide)
    for name in machinery:
        copy = shutil.copytree if (aside / name).is_dir() else shutil.copy
        copy(aside / name, repository.path / name)
    settings = (aside / "pyproject.toml").read_text(encoding="utf-8")
    _append(repository.path / "pyproject.toml", _parts(settings, tables))
    _append(repository.path / "services" / "legacy" / "pyproject.toml", service)

    outcomes = []
    for block in guide.blocks:
        for line in block.commands if block.kind != "needs" else []:
            outcome = repository.outcome(*shlex.split(line))
            assert outcome.code == 0, f"{line}\n{outcome.output}"
            outcomes.append(outcome)
    ran = Counter(test["service"] for test in outcomes[-1].summary["tests"])
    assert (set(ran), ran["legacy"]) == ({"legacy", "servicebase"}, 1)
    assert "legacy" in repository.run("uv", "run", "invoke", "graph", "--format", "json").stdout


def _told(guide: Document) -> tuple[list[str], list[str], str]:
    """Return the paths to copy, the tables to merge, and the service's tables that the guide names."""
    copied, merged = guide.text.partition("Merge these tables")[::2]
    first_cells = re.findall(r"^\| (`.*?`) \|", copied, re.MULTILINE)
    paths = [path.rstrip("/") for cell in first_cells for path in re.findall(r"`(.*?)`", cell)]
    rows = re.findall(r"^\| (`\[.*?) \|", merged, re.MULTILINE)
    tables = [table for row in rows for table in re.findall(r"`\[(.*?)\]`", row)]
    (block,) = [block for block in guide.blocks if block.language == "toml"]
    return paths, tables, block.text


def _parts(settings: str, tables: list[str]) -> str:
    """Return some tables of a TOML file, verbatim."""
    parts = re.split(r"^(?=\[)", settings, flags=re.MULTILINE)
    named = {part.partition("]")[0].strip("["): part for part in parts}
    found = [name for table in tables for name in named if fnmatchcase(name, table)]
    assert all(any(fnmatchcase(name, table) for name in found) for table in tables)
    return "\n".join(named[name] for name in dict.fromkeys(found))


def _append(file: Path, text: str) -> None:
    file.write_text(f"{file.read_text(encoding='utf-8')}\n{text}\n", encoding="utf-8")
