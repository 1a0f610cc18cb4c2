"""`invoke report.*`: what came of the last run."""

from invoke.collection import Collection
from invoke.context import Context

from .. import report as reports
from . import console
from .executor import task


@task()
def show(_: Context) -> None:
    """Print the results of the last nox run as Markdown."""
    console.say(reports.markdown(reports.last()))


report = Collection("report", show)
