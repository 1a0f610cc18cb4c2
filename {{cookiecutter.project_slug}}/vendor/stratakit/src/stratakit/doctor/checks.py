"""The table of checks: one row more is one thing more that is looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import eq

from .. import graph
from ..graph import Tier
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


def needing(*resources: graph.Resource) -> Callable[[Tier], bool]:
    """Return what says whether a tier needs one of `resources`."""
    return lambda tier: any(each in tier.needs for each in resources)


CHECKS = (
    Check("python", tools.python, every),
    Check("uv", tools.uv, every),
    Check("lock", tools.lock, every),
    Check("services", project.services, every),
    Check("environment", tools.environment, actions=("actions", "an IDE", "a bare pytest")),
    Check("tests", project.strays, tested),
    *(
        Check(f"tests: {tier.name}", partial(project.tests, tier), partial(eq, tier))
        for tier in graph.TIERS
        if tier.paths
    ),
    Check("test settings", settings.of_tests, tested),
    Check(".env", settings.of_services, actions=("service.run", "python -m SERVICE")),
    Check("postgres", partial(servers.source, "postgres"), needing(graph.POSTGRES)),
    Check("redis", partial(servers.source, "redis"), needing(graph.REDIS)),
    Check("embedded", servers.embedded, actions=("STRATA_SERVERS=embedded",)),
    Check("docker", containers.engine, needing(graph.DOCKER), ("STRATA_SERVERS=docker",)),
    Check("compose", containers.compose, needing(graph.DOCKER), ("stack.* with Docker",)),
    Check("buildx", containers.buildx, needing(graph.DOCKER), ("building images",)),
    Check("images", containers.images, needing(graph.DOCKER), ("STRATA_SERVERS=docker",)),
    Check("ports", machine.ports, needing(graph.STACK), ("stack.up", "service.run")),
    Check("project folder", machine.project_folder, every),
    Check("temporary folder", machine.temporary_folder, every),
    Check("uv cache", machine.uv_cache, every),
    Check("server data", machine.server_data, actions=("STRATA_SERVERS=embedded",)),
    Check("git", project.git, actions=("git commit", "updates of the template")),
    Check("hooks", project.hooks, actions=("checks at git commit",)),
    Check("terraform", tools.terraform, actions=("infra/",)),
    Check("template", project.template, actions=("uvx cruft update", "service.add")),
)
