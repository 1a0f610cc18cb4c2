"""`invoke service.run`: one service in the foreground, for as long as somebody works on it."""

import os
import sys

from invoke.context import Context

from .. import project, pyproject
from ..stack import launch
from ..stack.health import DOCS
from . import console
from .executor import task


@task(
    positional=["name"],
    help={
        "name": "service name",
        "reload": "restart it when its code or a library in libs/ changes",
        "port": "listen on this port instead of its own",
    },
)
def run(_: Context, name: str, reload: bool = False, port: int | None = None) -> None:
    """Run one service in the foreground; its servers stay up until stack.down."""
    what = launch(project.service(name), port=port, reload=reload)
    console.say(f"{name}: {what.url} and {what.url}{DOCS}; Ctrl-C ends it")
    sys.stdout.flush()
    os.chdir(pyproject.ROOT)
    # It takes our place: Ctrl-C and signals go straight to it, and its exit code is ours.
    os.execve(what.command[0], what.command, what.environment)  # noqa: S606
