"""Table of the doctor's checks; to add a check, add a row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq

from ..tiers import Tier
from . import machine, project
from .machine import INSTALL_DOCKER, version


@dataclass(frozen=True, slots=True)
class Check:
    """Check of one thing that tiers or actions need.

    `probe` returns a description of what it found, and raises a StrataError if that is not enough.
    """

    name: str
    probe: Callable[[], str]
    tiers: Callable[[Tier], bool] = lambda _: False
    """Function that tells whether a tier does not run without it."""
    actions: tuple[str, ...] = ()
    """Actions and other commands that do not work without it."""


def all_tiers(_: Tier) -> bool:
    """Return True: every tier needs it."""
    return True


def needing(*resources: str) -> Callable[[Tier], bool]:
    """Return a function that tells whether a tier needs one of `resources`."""
    return lambda tier: tier.requires(*resources)


def checks(known: Sequence[Tier]) -> tuple[Check, ...]:
    """Return the checks: of the machine, of the project, and of the tests of each tier."""
    return (
        Check("python", machine.python, all_tiers),
        Check("uv", machine.uv, all_tiers),
        Check("lock", machine.lock, all_tiers),
        Check("services", project.services, all_tiers),
        Check("tiers", project.tiers, all_tiers),
        Check("environment", machine.venv, actions=("actions", "an IDE", "a bare pytest")),
        Check("tests", project.strays, lambda tier: not tier.module),
        *(
            Check(f"tests: {tier.name}", partial(project.tests, tier), partial(eq, tier))
            for tier in known
            if tier.paths
        ),
        Check("test settings", project.of_tests, lambda tier: bool(tier.paths)),
        Check(".env", project.of_services, actions=("service.run", "python -m SERVICE")),
        Check("postgres", partial(project.source, "postgres"), needing("postgres")),
        Check("redis", partial(project.source, "redis"), needing("redis")),
        Check("extensions", project.extensions, needing("postgres")),
        Check("embedded", project.embedded, actions=("STRATA_SERVERS=embedded",)),
        Check("docker", machine.docker_engine, needing("docker"), ("STRATA_SERVERS=docker",)),
        Check(
            "compose",
            partial(version, "docker", "compose", "version", "--short", hint=INSTALL_DOCKER),
            needing("docker"),
            ("stack.* with Docker",),
        ),
        Check(
            "buildx",
            partial(version, "docker", "buildx", "version", hint=INSTALL_DOCKER),
            needing("docker"),
            ("building images",),
        ),
        Check("images", machine.images, needing("docker"), ("STRATA_SERVERS=docker",)),
        Check("stack", machine.stack, needing("stack")),
        Check("ports", machine.ports, needing("stack"), ("stack.up", "service.run")),
        Check("project folder", machine.project_folder, all_tiers),
        Check("temporary folder", machine.temporary_folder, all_tiers),
        Check("uv cache", machine.uv_cache, all_tiers),
        Check("server data", machine.server_data, actions=("STRATA_SERVERS=embedded",)),
        Check("git", project.git, actions=("git commit", "updates of the template")),
        Check("hooks", project.hooks, actions=("checks at git commit",)),
        Check("account", machine.account, needing("account")),
        Check("terraform", machine.terraform, needing("terraform"), ("infra.*",)),
        Check("update", project.rejects, actions=("git commit", "uvx cruft update")),
        Check("template", project.template, actions=("uvx cruft update", "service.add")),
    )
