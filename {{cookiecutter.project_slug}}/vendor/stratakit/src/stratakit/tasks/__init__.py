"""The actions that Invoke is the human's door to; what they do is in the other packages."""

from invoke.collection import Collection

from . import ci, completion, db, doctor, engine, graph, report, service, setup, stack
from .executor import TypedTask

ACTIONS: tuple[Collection | TypedTask, ...] = (
    setup.setup,
    doctor.doctor,
    completion.completion,
    graph.graph,
    db.db,
    service.service,
    stack.stack,
    ci.ci,
    report.report,
    engine.engine,
)
"""Those of the engine; a project adds its own in tasks.py."""
