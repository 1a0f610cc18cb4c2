"""Local clouds that stay up for manual use, until they are stopped."""

import shutil

from .. import environment
from ..programs import free_port
from ..servers.home import made
from ..stack.health import State
from ..stack.processes import Process
from . import clouds, terraform

HOME = environment.ENVIRONMENTS / "clouds"
"""Folder of their logs and state files."""


def names() -> list[str]:
    """Return the local clouds for which the project has a module."""
    modules = terraform.modules()
    return [name for name, each in clouds.CLOUDS.items() if each.module in modules]


def up(name: str) -> str:
    """Start a local cloud, unless it is up; return its endpoint.

    Raises:
        AbsentError: it cannot be installed.
        InfrastructureError: it does not start.
    """
    process = Process(name, HOME)
    if status(name)[0] != State.RUNNING:
        # The supervisor of one that has exited may still be running.
        process.stop()
        cloud, port = clouds.CLOUDS[name], free_port()
        home = made(process.folder / "home", 0o700)
        process.run(clouds.command(cloud, port), clouds.variables(cloud, port, home), port)
    endpoint = clouds.address(process.facts()["port"])
    clouds.wait(name, endpoint, lambda: not process.alive(), process.log)
    return endpoint


def down(name: str) -> bool:
    """Stop a local cloud and delete its data; return whether it was up."""
    process = Process(name, HOME)
    was_up = process.stop()
    shutil.rmtree(process.folder, ignore_errors=True)
    return was_up


def status(name: str) -> tuple[State, str]:
    """Return the state of a local cloud, and its endpoint or the reason why it has none."""
    process = Process(name, HOME)
    facts = process.facts()
    if not facts:
        return State.STOPPED, ""
    if process.alive() and "exit_code" not in facts:
        return State.RUNNING, clouds.address(facts["port"])
    return State.DEAD, f"see {process.log}"
