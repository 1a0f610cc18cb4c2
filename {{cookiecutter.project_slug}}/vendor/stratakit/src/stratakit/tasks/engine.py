"""`invoke engine.*`: the engine behind tiers and actions."""

from invoke.collection import Collection
from invoke.context import Context

from .. import scaffold
from . import console
from .executor import task


@task(help={"yes": "do not ask for confirmation"})
def eject(_: Context, yes: bool = False) -> None:
    """Turn the vendored engine into a package of your own."""
    if not yes:
        console.confirm("move vendor/stratakit to engine/, to maintain it yourselves", "--yes")
    changed = scaffold.eject()
    console.say(
        f"changed: {', '.join(changed)}. Next:\n"
        "  uv sync --all-packages --all-groups\n"
        "  uvx nox -s static unit"
    )


engine = Collection("engine", eject)
