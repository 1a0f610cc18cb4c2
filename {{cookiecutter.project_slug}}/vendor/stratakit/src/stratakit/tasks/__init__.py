"""The actions that Invoke is the human's door to; what they do is in the other packages."""

from invoke.collection import Collection

from . import ci, cloud, clouds, db, deploy, graph, infra, load, project, report, service, stack
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
    load.load,
    cloud.cloud,
    deploy.deploy,
    ci.ci,
    report.report,
    project.engine,
)
"""Those of the engine; a project adds its own in tasks.py."""
