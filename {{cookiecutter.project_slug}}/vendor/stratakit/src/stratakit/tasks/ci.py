"""`invoke ci.*`: what the workflows ask of the project."""

import json

from invoke.collection import Collection
from invoke.context import Context

from .. import ci as jobs
from . import console
from .executor import task


@task(positional=["workflow"], help={"workflow": "test or nightly"})
def matrix(_: Context, workflow: jobs.Workflow) -> None:
    """Print the jobs of a workflow as outputs of a GitHub step, NAME=VALUE."""
    for name, value in jobs.matrix(workflow).items():
        console.say(f"{name}={value if isinstance(value, str) else json.dumps(value)}")


ci = Collection("ci", matrix)
