"""Invoke tasks, the command line of the actions; their logic is in the other packages."""

import sys

from invoke.collection import Collection

from .. import streams

streams.prepare()

# Invoke disables bytecode unless it gets `--write-pyc`: each action would recompile its imports,
# which takes longer than most actions. Python's own setting is respected.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from . import (  # noqa: E402 - must follow the line above
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
from .executor import TypedTask  # noqa: E402 - see above

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
"""Actions of the engine; a project adds its own in tasks.py."""
