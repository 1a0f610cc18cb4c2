"""Print, as JSON, Invoke's error for each command line of standard input, or null."""

import json
import sys
from pathlib import Path

from invoke import FilesystemLoader
from invoke.collection import Collection
from invoke.exceptions import ParseError
from invoke.main import program
from invoke.parser import Parser


def trouble(words: list[str]) -> str | None:
    """Return the error of a command line, if any."""
    try:
        Parser(contexts=tasks.to_contexts(), initial=program.initial_context).parse_argv(words)
    except ParseError as error:
        # A text may name a task without its arguments.
        named = len(words) == 1 and "required positional arguments" in str(error)
        return None if named else str(error)
    return None


module, _ = FilesystemLoader(start=str(Path.cwd())).load("tasks")
tasks = Collection.from_module(module)
# Invoke reads a `--help` before a task in a first pass.
json.dump(
    [trouble([word for word in words if word != "--help"]) for words in json.load(sys.stdin)],
    sys.stdout,
)
