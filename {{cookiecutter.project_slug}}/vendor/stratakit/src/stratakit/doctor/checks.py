"""The table of checks: one row more is one thing more that is looked at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq

from ..tiers import Tier
from . import containers, machine, project, servers, settings, tools


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that tiers or actions need.

    `look` returns what is there, and raises an StrataError where that will not do.
    """

    name: str
    look: Callable[[], str]
    tiers: Callable[[Tier], bool] = lambda _: False
    """Which tiers do not run without it."""
    actions: tuple[str, ...] = ()
    """What else people do that does not work without it."""


def every(_: Tier) -> bool:
    """Report that every tier needs it."""
    return True


def tested(tier: Tier) -> bool:
    """Return whether a tier runs pytest."""
    return bool(tier.paths)


def needing(*resources: str) -> Callable[[Tier], bool]:
    """Return what says whether a tier needs one of `resources`."""
    return lambda tier: tier.requires(*resources)


def checks(known: Sequence[Tier]) -> tuple[Check, ...]:
    """Return the checks: of the machine, of the project, and of the tests of each tier."""
    return (
        Check("python", tools.python, every),
        Check("uv", tools.uv, every),
        Check("lock", tools.lock, every),
        Check("services", project.services, every),
        Check("tiers", project.tiers, every),
        Check("environment", tools.environment, actions=("actions", "an IDE", "a bare pytest")),
        Check("tests", project.strays, tested),
        *(
            Check(f"tests: {tier.name}", partial(project.tests, tier), partial(eq, tier))
            for tier in known
            if tier.paths
        ),
        Check("test settings", settings.of_tests, tested),
        Check(".env", settings.of_services, actions=("service.run", "python -m SERVICE")),
        Check("postgres", partial(servers.source, "postgres"), needing("postgres")),
        Check("redis", partial(servers.source, "redis"), needing("redis")),
        Check("embedded", servers.embedded, actions=("STRATA_SERVERS=embedded",)),
        Check("docker", containers.engine, needing("docker"), ("STRATA_SERVERS=docker",)),
        Check("compose", containers.compose, needing("docker"), ("stack.* with Docker",)),
        Check("buildx", containers.buildx, needing("docker"), ("building images",)),
        Check("images", containers.images, needing("docker"), ("STRATA_SERVERS=docker",)),
        Check("stack", containers.stack, needing("stack")),
        Check("ports", machine.ports, needing("stack"), ("stack.up", "service.run")),
        Check("project folder", machine.project_folder, every),
        Check("temporary folder", machine.temporary_folder, every),
        Check("uv cache", machine.uv_cache, every),
        Check("server data", machine.server_data, actions=("STRATA_SERVERS=embedded",)),
        Check("git", project.git, actions=("git commit", "updates of the template")),
        Check("hooks", project.hooks, actions=("checks at git commit",)),
        Check("terraform", tools.terraform, actions=("infra/",)),
        Check("template", project.template, actions=("uvx cruft update", "service.add")),
    )
