"""The actions that Invoke is the human's door to; what they do is in the other packages."""

import sys

from invoke.collection import Collection

# Invoke forbids bytecode, unless it gets `--write-pyc`: each action would compile anew all that it
# imports, which takes longer than most of them do. Who forbids it to Python is heeded.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from . import (  # noqa: E402 - what the line above is for
    ci,
    cloud,
    clouds,
    db,
    deploy,
    graph,
    infra,
    load,
    project,
    report,
    service,
    stack,
)
from .executor import TypedTask  # noqa: E402 - as above

ACTIONS: tuple[Collection | TypedTask, ...] = (
    project.setup,
    project.doctor,
    project.completion,
    graph.graph,
    db.db,
    service.service,
    stack.stack,
    infra.infra,
    clouds.clouds,
    load.load,
    cloud.cloud,
    deploy.deploy,
    ci.ci,
    report.report,
    project.engine,
)
"""Those of the engine; a project adds its own in tasks.py."""
