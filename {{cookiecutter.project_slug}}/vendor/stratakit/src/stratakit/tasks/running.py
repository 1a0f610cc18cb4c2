"""`invoke service.run`: one service in the foreground, for as long as somebody works on it."""

import os
import sys

from invoke.context import Context

from .. import graph
from ..stack.foreground import launch
from ..stack.states import DOCS
from . import console
from .executor import task


@task(
    positional=["name"],
    help={
        "name": "which service",
        "reload": "start it anew whenever its code changes, or that of a library in libs/",
        "port": "where it listens, instead of on its own port",
    },
)
def run(_: Context, name: str, reload: bool = False, port: int | None = None) -> None:
    """Run one service here until Ctrl-C, on servers that stay up until stack.down."""
    what = launch(graph.service(name), port=port, reload=reload)
    console.say(f"{name}: {what.url} and {what.url}{DOCS}; Ctrl-C ends it")
    sys.stdout.flush()
    os.chdir(graph.ROOT)
    # It takes our place: Ctrl-C and signals go straight to it, and its exit code is ours.
    os.execve(what.command[0], what.command, what.environment)  # noqa: S606
