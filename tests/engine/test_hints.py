"""Names in messages and guides of the engine: commands that Invoke accepts, importable names."""

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.collection import Collection
from invoke.parser import Parser

import stratakit
from stratakit import limits, programs
from stratakit.pyproject import ROOT
from stratakit.tasks import ACTIONS

PACKAGE = Path(stratakit.__file__).parent
COMMAND = re.compile(r"""uv run invoke ((?!--)(?:"[^"\n]*"|[^\n`,;)"])+)""")
PROSE = re.compile(r" shows .*| && .*")
"""Prose after a command."""
FILLED = {"which": "--service it", "_which": "--service it", "command": "doctor"}
"""Values for placeholders that need several words; NAME does for the others."""


def texts(source: str) -> Iterator[str]:
    """Yield the strings of a module, with values in place of their placeholders."""
    tree = ast.parse(source)
    filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    yield from ("".join(map(_filled, node.values)) for node in filled)
    parts = {part for node in filled for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.value


def _filled(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    return FILLED.get(ast.unparse(part.value).rpartition(".")[2], "NAME")


COMMANDS = sorted(
    {
        PROSE.sub("", command).strip()
        for file in PACKAGE.rglob("*.py")
        for text in texts(file.read_text(encoding="utf-8"))
        for command in COMMAND.findall(text)
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_named_in_a_message_is_accepted_by_invoke(command: str) -> None:
    Parser(Collection(*ACTIONS).to_contexts()).parse_argv(shlex.split(command.replace("{}", "1")))


def test_commands_are_found_in_the_messages() -> None:
    assert len(COMMANDS) > 30


OF = re.compile(r"`([\w.]+)[^`\n]*`\s+(?:of|are\s+in)\s+`(stratakit[\w.]*)`")
"""Pattern by which a guide says where a name is imported from."""
NAMES = sorted(
    {
        found
        for file in (
            *ROOT.glob("*.md"),
            *ROOT.glob("docs/*.md"),
            *PACKAGE.parents[1].glob("docs/*.md"),
        )
        for found in OF.findall(file.read_text(encoding="utf-8"))
    }
)


# In a process of its own: importing Locust replaces the threads of its process.
IMPORT_NAMES = """
import sys
from importlib import import_module

for word in sys.argv[1:]:
    name, _, module = word.partition(" ")
    first, _, rest = name.partition(".")
    there = import_module(module)
    found = getattr(there, first, None) or import_module(f"{module}.{first}")
    assert not rest or hasattr(found, rest), word
"""


def test_names_in_guides_can_be_imported_from_the_stated_modules() -> None:
    done = programs.run([sys.executable, "-c", IMPORT_NAMES, *map(" ".join, NAMES)], limits.COMMAND)
    assert done.returncode == 0, done.stderr


def test_names_are_found_in_the_guides() -> None:
    assert ("eventually", "stratakit.testing") in NAMES
