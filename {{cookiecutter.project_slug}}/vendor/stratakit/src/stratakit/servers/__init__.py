"""Sources of PostgreSQL and Redis, in the order tried: a configured URL, Docker, embedded servers.

`STRATA_SERVERS` overrides the order. A configured URL that fails is an error and never falls back
to the next source: nobody should find out later that the tests ran on another server.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..pyproject import postgres
from ..settings import EXAMPLES, Settings
from . import external

Kind = Literal["postgres", "redis"]
KINDS: tuple[Kind, ...] = ("postgres", "redis")
Source = Literal["url", "docker", "embedded"]

# Embedded servers need flock and Unix sockets.
_FALLBACKS: tuple[Source, ...] = ("docker",) if sys.platform == "win32" else ("docker", "embedded")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready.

    `url` names the maintenance database (PostgreSQL) or has no database number (Redis).
    `owned` is true for a server that we started: everything on it is ours as well.
    """

    kind: Kind
    url: str
    source: Source
    why: str
    owned: bool


@contextmanager
def lease(
    settings: Settings,
    kinds: tuple[Kind, ...] = KINDS,
    *,
    persistent: bool = False,
    kept: bool = False,
) -> Iterator[dict[Kind, Server]]:
    """Keep the servers of `kinds` up until the block ends, or `persistent` ones until `release`.

    Args:
        settings: the source of the servers.
        kinds: the kinds to start.
        persistent: whether they stay up after the block, until `release`.
        kept: whether to use the servers of `dev`, whose data survives a crash of the machine.

    Raises:
        ConfigurationError: `STRATA_SERVERS=url` without a URL, or the URL is ambiguous.
        InfrastructureError: a server is not reachable or does not start.
    """
    if "postgres" in kinds:
        external.settle_environment(settings)
    with ExitStack() as stack:
        taken: dict[Kind, Server] = {}
        for kind in kinds:
            name, why = choose(settings, kind)
            source = _source("compose" if persistent and name == "docker" else name)
            # Only embedded servers come in two variants, `kept` or not.
            own = {"kept": kept} if name == "embedded" else {}
            address = stack.enter_context(source.lease(kind, settings, **own))
            if persistent and name == "embedded":
                source.hold(kind, **own)
            if name == "embedded" and kind == "postgres":
                from .binaries import installation

                why += f"; {postgres()} of {installation(kind).origin}"
            taken[kind] = Server(kind, address, name, why, owned=name != "url")
        yield taken


def quick(settings: Settings) -> bool:
    """Return whether the servers start within seconds, as embedded ones do.

    Others are up already, or their image may have to be downloaded. Invalid settings are left for
    `lease` to report.
    """
    try:
        return all(choose(settings, kind)[0] == "embedded" for kind in KINDS)
    except StrataError:
        return False


def choose(settings: Settings, kind: Kind) -> tuple[Source, str]:
    """Return the source of a server, and the reason for it.

    Raises:
        ConfigurationError: `STRATA_SERVERS=url` without a URL.
        InfrastructureError: this machine has no source for it.
    """
    variable = external.VARIABLES[kind]
    given = external.given(settings, kind)
    if settings.servers == "url" and not given:
        raise ConfigurationError(
            f"STRATA_SERVERS=url, but {variable} is not set",
            f"{EXAMPLES[variable]}, or unset STRATA_SERVERS",
        )
    if settings.servers != "auto":
        return settings.servers, f"STRATA_SERVERS={settings.servers}"
    if given:
        return "url", f"{variable} is set"
    refusals: list[str] = []
    for source in _FALLBACKS:
        refusal = _source(source).refusal(kind)
        if refusal is None:
            return source, "; ".join(refusals) or "it answers and has the image"
        refusals.append(refusal)
    raise InfrastructureError(
        f"there is no {kind} to test with: {variable} is not set; {'; '.join(refusals)}",
        f"uv run invoke setup, or start Docker, or set {EXAMPLES[variable]}",
    )


def release() -> list[str]:
    """Release the servers that actions have kept up; return their kinds and sources."""
    return [
        f"{kind}: {source}"
        for source in (*_FALLBACKS, "compose")
        for kind in KINDS
        if source != "docker" and _source(source).release(kind)
    ]


def _source(name: str) -> ModuleType:
    # Imported on demand: Docker's client takes 0.1 s, and Windows has no flock.
    return import_module(".external" if name == "url" else f".{name}", __name__)
