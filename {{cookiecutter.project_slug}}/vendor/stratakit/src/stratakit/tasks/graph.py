"""`invoke graph`: the tiers, what they need, the services and libraries they are about."""

import sys
from typing import Literal

from invoke.context import Context

from .. import graph_formats
from .executor import task


@task(help={"format": "table, json or mermaid"})
def graph(_: Context, format: Literal["table", "json", "mermaid"] = "table") -> None:  # noqa: A002 - the flag's name
    """Print the task graph: tiers, their needs, services and libraries."""
    sys.stdout.write(graph_formats.FORMATS[format]() + "\n")
