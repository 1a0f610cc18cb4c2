"""`invoke clouds.*`: local clouds that stay up for work by hand."""

import shlex

from invoke.collection import Collection
from invoke.context import Context

from ..errors import ConfigurationError, did_you_mean
from ..infra import kept
from ..infra.clouds import CLOUDS, following
from . import console
from .executor import task

CLOUD = {"cloud": "only this local cloud: aws or gcs; default: all"}


def chosen(cloud: str | None) -> list[str]:
    """Return the names of the local clouds to act on.

    Raises:
        ConfigurationError: the project does not have this local cloud.
    """
    names = kept.names()
    if cloud is None:
        return names
    if cloud not in names:
        raise ConfigurationError(
            f"there is no local cloud {cloud!r}",
            did_you_mean(cloud, names, f"there are {', '.join(names) or 'none in this project'}"),
        )
    return [cloud]


@task(help=CLOUD)
def up(_: Context, cloud: str | None = None) -> None:
    """Start local clouds; print the variables that point tests, clients and Terraform to them."""
    for name in chosen(cloud):
        endpoint = kept.up(name)
        leads = {CLOUDS[name].setting: endpoint, **following(CLOUDS[name], endpoint)}
        console.say(f"# {name} is up at {endpoint}; for this shell:")
        words = (f"{variable}={shlex.quote(value)}" for variable, value in leads.items())
        console.say(f"export {' '.join(words)}")


@task(help=CLOUD)
def down(_: Context, cloud: str | None = None) -> None:
    """Stop local clouds, and delete what they have stored."""
    stopped = [name for name in chosen(cloud) if kept.down(name)]
    console.say(f"stopped: {', '.join(stopped)}" if stopped else "no local cloud was up")


@task(help=CLOUD)
def status(_: Context, cloud: str | None = None) -> None:
    """Show which local clouds are up, and where."""
    rows = [(name, *kept.status(name)) for name in chosen(cloud)]
    console.say(console.table(("cloud", "state", "endpoint"), rows))


clouds = Collection("clouds", up, down, status)
