"""The actions that Invoke is the human's door to; what they do is in the other packages."""

from invoke.collection import Collection

from . import ci, clouds, db, graph, infra, project, report, service, stack
from .executor import TypedTask

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
    ci.ci,
    report.report,
    project.engine,
)
"""Those of the engine; a project adds its own in tasks.py."""
