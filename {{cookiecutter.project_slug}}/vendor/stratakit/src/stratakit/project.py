"""Services and libraries of the project, and the tiers with tests in them.

Standard library only, since noxfile.py imports it in whatever environment runs nox.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar

from . import tiers
from .errors import AbsentError, ConfigurationError
from .pyproject import ROOT, read, refuse_unknown, tool
from .tiers import Scope, Tier, named

SERVICE_KEYS = (
    *("package", "needs", "metadata", "port", "app", "secrets", "critical", "oldest_revision"),
    *("downloads", "load", "smoke"),
)
"""Keys of `[tool.stratakit.service]` in a service's pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Package:
    """Member of the workspace with tests that tiers run: a service or a library."""

    kind: ClassVar[str]
    scopes: ClassVar[tuple[Scope, ...]] = ("package",)
    """Scopes of the tiers that may have tests in it."""

    name: str
    path: Path
    distribution: str
    groups: tuple[str, ...] = field(default=(), kw_only=True)
    """Names of its dependency groups."""


@dataclass(frozen=True, slots=True)
class Library(Package):
    """A folder under libs/ that has a pyproject.toml, and tests of at least one tier."""

    kind = "library"


@dataclass(frozen=True, slots=True)
class Service(Package):
    """A folder under services/ whose pyproject.toml has a `[tool.stratakit.service]` table."""

    kind = "service"
    scopes = ("package", "service")

    package: str
    needs: tuple[str, ...]
    metadata: str
    """Location of the models' metadata, as `module:attribute`."""
    port: int | None = None
    """Port on a developer's machine; None if the service does not listen."""
    app: str | None = None
    """Factory of its ASGI application, as `module:function`."""
    secrets: tuple[str, ...] = ()
    """Names of its secret settings, without the common prefix."""
    critical: tuple[str, ...] = ()
    """Globs of the files where a mistake costs the most, relative to the service."""
    oldest_revision: str | None = None
    """Oldest revision from which databases can be upgraded; None is the first."""
    smoke: str | None = None
    """File, relative to the service, with its smoke test, `smoke(url, settings)`."""

    @property
    def prefix(self) -> str:
        """Common prefix of its settings' names."""
        return f"{self.package.upper()}_"


@cache
def services() -> tuple[Service, ...]:
    """Return the services of the project, sorted by name.

    Raises:
        ConfigurationError: the pyproject.toml of one of them is not readable, lacks a key, or has
            an unknown one.
    """
    return tuple(_service(file) for file in sorted((ROOT / "services").glob("*/pyproject.toml")))


@cache
def libraries() -> tuple[Library, ...]:
    """Return the libraries of the project that have tests, sorted by name.

    Raises:
        ConfigurationError: the pyproject.toml of one of them is not readable or lacks its name.
    """
    return tuple(
        _library(file)
        for file in sorted((ROOT / "libs").glob("*/pyproject.toml"))
        if any(tier.scope in Library.scopes and tier.found(file.parent) for tier in tiers.load())
    )


def packages() -> tuple[Package, ...]:
    """Return the services and the libraries that have tests.

    Raises:
            ConfigurationError: see `services` and `libraries`; or a name is used twice.
    """
    taken = {each.name for each in services()}
    for library in libraries():
        if library.name in taken:
            raise ConfigurationError(
                f"there are a service and a library {library.name}, so it is ambiguous whose"
                f" tests {tiers.UNIT}({library.name}) runs",
                f"rename one, for example: git mv libs/{library.name} libs/{library.name}-lib"
                " && uv lock",
            )
    return (*services(), *libraries())


def packages_of(tier: Tier) -> tuple[Package, ...]:
    """Return the packages whose tests a tier runs; none for a tier of the repository.

    Services without such tests are included, so that the tier reports them as missing.
    """
    return tuple(
        each
        for each in packages()
        if tier.scope in each.scopes and (isinstance(each, Service) or tier.found(each.path))
    )


def folders(tier: Tier, package: Package | None) -> list[Path]:
    """Return the folders with a tier's tests; none for a tier that runs no tests.

    Raises:
        AbsentError: the tier runs tests, but there are none here.
    """
    home = package.path if package else ROOT
    if tier.scope != "repository" and not package:
        raise AbsentError("there is no service in services/", "uv run invoke graph")
    found = tier.found(home)
    if tier.paths and not found:
        wanted = (home / tier.paths[0]).relative_to(ROOT)
        raise AbsentError(f"there is no tier {tier.name} here: it needs tests in {wanted}/")
    return found


def package(name: str) -> Package:
    """Return the service or library called `name`.

    Raises:
            ConfigurationError: there is none with tests.
    """
    return named("service or tested library", name, packages())


def service(name: str) -> Service:
    """Return the service called `name`.

    Raises:
        ConfigurationError: there is none.
    """
    return named("service", name, services())


def _service(file: Path) -> Service:
    where = file.relative_to(ROOT)
    manifest, table = read(file), tool(file, "stratakit")
    refuse_unknown(table, ("service",), f"[tool.stratakit] of {where}")
    table = table.get("service", {})
    try:
        found = Service(
            name=file.parent.name,
            path=file.parent,
            distribution=manifest["project"]["name"],
            groups=tuple(manifest.get("dependency-groups", ())),
            package=table["package"],
            needs=tuple(table["needs"]),
            metadata=table["metadata"],
            port=table.get("port"),
            app=table.get("app"),
            secrets=tuple(table.get("secrets", ())),
            critical=tuple(table.get("critical", ())),
            oldest_revision=table.get("oldest_revision"),
            smoke=table.get("smoke"),
        )
    except KeyError as missing:
        raise ConfigurationError(
            f"{where} lacks the key {missing} of a service",
            'write it, for example: [tool.stratakit.service] package = "billing"',
        ) from missing
    refuse_unknown(table, SERVICE_KEYS, f"[tool.stratakit.service] of {where}")
    return found


def _library(file: Path) -> Library:
    manifest = read(file)
    try:
        return Library(
            name=file.parent.name,
            path=file.parent,
            distribution=manifest["project"]["name"],
            groups=tuple(manifest.get("dependency-groups", ())),
        )
    except KeyError as missing:
        raise ConfigurationError(
            f"{file.relative_to(ROOT)} lacks the key {missing} of a library",
            'write it, for example: [project] name = "money"',
        ) from missing
