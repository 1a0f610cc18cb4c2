"""Print why Invoke does not understand each command line of standard input, or null: as JSON."""

import json
import sys
from pathlib import Path

from invoke import FilesystemLoader
from invoke.collection import Collection
from invoke.exceptions import ParseError
from invoke.main import program
from invoke.parser import Parser


def trouble(words: list[str]) -> str | None:
    """Return why a command line is not understood."""
    try:
        Parser(contexts=tasks.to_contexts(), initial=program.initial_context).parse_argv(words)
    except ParseError as error:
        # Where a text but names a task, its arguments are left out.
        named = len(words) == 1 and "required positional arguments" in str(error)
        return None if named else str(error)
    return None


module, _ = FilesystemLoader(start=str(Path.cwd())).load("tasks")
tasks = Collection.from_module(module)
# `--help` before a task is read in a first pass, alone.
json.dump(
    [trouble([word for word in words if word != "--help"]) for words in json.load(sys.stdin)],
    sys.stdout,
)
