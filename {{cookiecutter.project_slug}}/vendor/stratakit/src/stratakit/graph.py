"""The one table that everything reads: the tiers, what they need, the services and libraries.

noxfile.py, tasks.py, the pytest markers, CI and the tables in the documents derive from it.
Standard library only, since noxfile.py imports it in whatever environment runs nox.
"""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from .errors import AbsentError, ConfigurationError, did_you_mean


def names_project(folder: Path) -> bool:
    """Return whether the pyproject.toml of a folder names a project; that of a service does not."""
    try:
        table = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "project" in table.get("tool", {}).get("stratakit", {})


def _root() -> Path:
    """Return the folder of the project: the one around this package, else around a process."""
    # In vendor/stratakit/, or in engine/ once it is ejected.
    for above in Path(__file__).resolve().parents[3:5]:
        if (above / "noxfile.py").is_file():
            return above
    here = Path.cwd()
    return next((each for each in (here, *here.parents) if names_project(each)), here)


ROOT = _root()
REPORTS = ROOT / "reports"

T = TypeVar("T", bound="Tier | Package")
Scope = Literal["repository", "package", "service"]
"""What a tier is asked about: all at once, each service and library with tests, each service."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Something outside of the code that a tier needs before it can run."""

    name: str
    description: str


POSTGRES = Resource("postgres", "PostgreSQL: url, docker or embedded")
REDIS = Resource("redis", "Redis: url, docker or embedded")
DOCKER = Resource("docker", "a Docker engine that answers")
STACK = Resource("stack", "a running stack")
ACCOUNT = Resource("account", "a cloud account, or the provider `local`")


@dataclass(frozen=True, slots=True)
class Tier:
    """One question about the code, asked as `nox -s NAME`.

    `paths` are the folders that hold its tests, relative to a package, or to the repository in that
    scope. Budgets are seconds, for the whole tier and for one test; a test that takes longer than
    `timeout` seconds is stopped.
    """

    name: str
    checks: str
    scope: Scope
    paths: tuple[str, ...] = ()
    needs: tuple[Resource, ...] = ()
    default: bool = False
    parallel: bool = False
    budget: float | None = None
    test_budget: float | None = None
    timeout: float | None = None

    def packages(self) -> "tuple[Package, ...]":
        """Return whose tests the tier runs; none for a tier of the repository.

        A service is among them without such tests as well, and the tier says that they are missing.
        """
        return tuple(
            each
            for each in packages()
            if self.scope in each.scopes and (isinstance(each, Service) or self.found(each.path))
        )

    def folders(self, package: "Package | None") -> list[Path]:
        """Return the folders that hold the tier's tests; none for a tier that has no tests.

        Raises:
            AbsentError: the tier has tests elsewhere, but none here.
        """
        home = package.path if package else ROOT
        if self.scope != "repository" and not package:
            raise AbsentError("there is no service in services/", "uv run invoke graph")
        found = self.found(home)
        if self.paths and not found:
            wanted = (home / self.paths[0]).relative_to(ROOT)
            raise AbsentError(f"there is no tier {self.name} here: it needs tests in {wanted}/")
        return found

    def found(self, home: Path) -> list[Path]:
        """Return the folders that hold the tier's tests in the folder of a package, if any."""
        return [home / path for path in self.paths if _holds_files(home / path)]


STATIC = Tier(
    name="static",
    checks="format, lint, types, lock, workflows, Dockerfiles, secrets",
    scope="repository",
    default=True,
    parallel=True,
    budget=30,
)
UNIT = Tier(
    name="unit",
    checks="handlers and domain on fakes; sockets are blocked",
    scope="package",
    # A contract suite runs here against the fake and in `integration` against the real adapter.
    paths=("tests/unit", "tests/contracts"),
    default=True,
    parallel=True,
    budget=30,
    test_budget=0.1,
    timeout=30,
)
INTEGRATION = Tier(
    name="integration",
    checks="real PostgreSQL and Redis: migrations, repositories, contracts, smoke, end to end",
    scope="package",
    paths=("tests/integration", "tests/contracts"),
    needs=(POSTGRES, REDIS),
    default=True,
    parallel=True,
    budget=120,
    test_budget=5,
    timeout=120,
)
INFRASTRUCTURE = Tier(
    name="infrastructure",
    checks="the Compose stack, Terraform, local clouds",
    scope="repository",
    paths=("tests/infrastructure",),
    needs=(DOCKER,),
    budget=600,
)
LOAD = Tier(
    name="load",
    checks="throughput, percentiles and error rate against thresholds",
    scope="service",
    paths=("tests/load",),
    needs=(STACK,),
)
CLOUD = Tier(
    name="cloud",
    checks="a spot instance: credentials, launch, health, request, teardown",
    scope="repository",
    paths=("tests/cloud",),
    needs=(ACCOUNT,),
    budget=900,
)

TIERS = (STATIC, UNIT, INTEGRATION, INFRASTRUCTURE, LOAD, CLOUD)


@dataclass(frozen=True, slots=True)
class Marker:
    """Tests of integration that can be asked for by `-m NAME`.

    They are in tests/integration/NAME/ or in a file test_NAME*.py. The budget is that of one test,
    in seconds.
    """

    name: str
    checks: str
    test_budget: float


KINDS = (
    Marker("smoke", "the process as it is started in production answers, and in time", 5),
    Marker("contract", "the API is what its description says, and what its clients expect", 30),
    Marker("e2e", "a user's whole way, as it should go and as it should not", 300),
)

MEASURED = (UNIT, INTEGRATION)
COVERAGE = Tier(
    name="coverage",
    checks="how many of the lines unit and integration run together",
    scope="repository",
)
"""No tier, but the session that judges the `MEASURED` ones together."""
SESSIONS = (*TIERS, COVERAGE)


PROJECT_KEYS = ("project", "python", "destroyable_hosts", "uncleaned", "coverage", "static")
"""What `[tool.stratakit]` of the project may hold."""
SERVICE_KEYS = (
    *("package", "needs", "metadata", "port", "app", "secrets", "critical"),
    "downloads",
)
"""What `[tool.stratakit.service]` of a service may hold."""


@dataclass(frozen=True, slots=True)
class Package:
    """A member of the workspace with tests that tiers run: a service or a library."""

    kind: ClassVar[str]
    scopes: ClassVar[tuple[Scope, ...]] = ("package",)
    """Which tiers may have tests in it."""

    name: str
    path: Path
    distribution: str


@dataclass(frozen=True, slots=True)
class Library(Package):
    """A folder under libs/ that has a pyproject.toml, and tests of at least one tier."""

    kind = "library"

    groups: tuple[str, ...] = ()
    """Its dependency groups."""


@dataclass(frozen=True, slots=True)
class Service(Package):
    """A folder under services/ whose pyproject.toml has a `[tool.stratakit.service]` table."""

    kind = "service"
    scopes = ("package", "service")

    package: str
    needs: tuple[str, ...]
    metadata: str
    """Where the models' metadata is, as `module:attribute`."""
    port: int | None = None
    """Where it listens on a developer's machine; None for one that serves nobody."""
    app: str | None = None
    """What makes its ASGI application, as `module:function`."""
    secrets: tuple[str, ...] = ()
    """Settings that are secret, without the prefix that all of its settings have."""
    critical: tuple[str, ...] = ()
    """Globs of the files where a mistake costs the most, relative to the service."""

    @property
    def prefix(self) -> str:
        """What the names of its settings begin with."""
        return f"{self.package.upper()}_"


@cache
def project() -> dict[str, Any]:
    """Return the `[tool.stratakit]` table of the project.

    Raises:
        ConfigurationError: pyproject.toml is not readable, or does not name the project there, or
            holds a key that nothing reads.
    """
    table = _table(ROOT / "pyproject.toml", "stratakit")
    refuse_unknown(table, PROJECT_KEYS, "[tool.stratakit] of pyproject.toml")
    if "project" not in table:
        raise ConfigurationError(
            "`project` is not set in [tool.stratakit] of pyproject.toml",
            'add it, for example: [tool.stratakit] project = "acme"',
        )
    return table


def pytest_settings() -> dict[str, Any]:
    """Return the settings of pytest, in either of the two tables that it reads.

    Raises:
        ConfigurationError: pyproject.toml is not readable.
    """
    table = _table(ROOT / "pyproject.toml", "pytest")
    return {**table.get("ini_options", {}), **table}


@cache
def services() -> tuple[Service, ...]:
    """Return the services of the project, by name.

    Raises:
        ConfigurationError: the pyproject.toml of one of them is not readable, lacks a key, or holds
            one that nothing reads.
    """
    return tuple(_service(file) for file in sorted((ROOT / "services").glob("*/pyproject.toml")))


@cache
def libraries() -> tuple[Library, ...]:
    """Return the libraries of the project that have tests, by name.

    Raises:
        ConfigurationError: the pyproject.toml of one of them is not readable or lacks its name.
    """
    return tuple(
        _library(file)
        for file in sorted((ROOT / "libs").glob("*/pyproject.toml"))
        if any(tier.scope in Library.scopes and tier.found(file.parent) for tier in TIERS)
    )


def packages() -> tuple[Package, ...]:
    """Return the services and the libraries that have tests.

    Raises:
        ConfigurationError: as of `services` and `libraries`; or two have one name.
    """
    taken = {each.name for each in services()}
    for library in libraries():
        if library.name in taken:
            raise ConfigurationError(
                f"there are a service and a library {library.name}, so it would not be known whose"
                f" tests {UNIT.name}({library.name}) runs",
                f"rename one, for example: git mv libs/{library.name} libs/{library.name}-lib"
                " && uv lock",
            )
    return (*services(), *libraries())


def package(name: str) -> Package:
    """Return the service or library called `name`.

    Raises:
        ConfigurationError: there is none that has tests.
    """
    return _named("service or tested library", name, packages())


def service(name: str) -> Service:
    """Return the service called `name`.

    Raises:
        ConfigurationError: there is none.
    """
    return _named("service", name, services())


def tier(name: str) -> Tier:
    """Return the tier called `name`.

    Raises:
        ConfigurationError: there is none.
    """
    return _named("tier", name, TIERS)


def _named(kind: str, name: str, there: Sequence[T]) -> T:
    for candidate in there:
        if candidate.name == name:
            return candidate
    known = [candidate.name for candidate in there]
    raise ConfigurationError(
        f"there is no {kind} {name!r}; there are: {', '.join(known) or 'none'}",
        did_you_mean(name, known, "uv run invoke graph"),
    )


def _service(file: Path) -> Service:
    where = file.relative_to(ROOT)
    table = _table(file, "stratakit")
    refuse_unknown(table, ("service",), f"[tool.stratakit] of {where}")
    table = table.get("service", {})
    try:
        found = Service(
            name=file.parent.name,
            path=file.parent,
            distribution=_read(file)["project"]["name"],
            package=table["package"],
            needs=tuple(table["needs"]),
            metadata=table["metadata"],
            port=table.get("port"),
            app=table.get("app"),
            secrets=tuple(table.get("secrets", ())),
            critical=tuple(table.get("critical", ())),
        )
    except KeyError as missing:
        raise ConfigurationError(
            f"{where} lacks the key {missing} of a service",
            'write it, for example: [tool.stratakit.service] package = "billing"',
        ) from missing
    refuse_unknown(table, SERVICE_KEYS, f"[tool.stratakit.service] of {where}")
    return found


def refuse_unknown(table: dict[str, Any], known: Sequence[str], where: str) -> None:
    """Refuse a key that nothing reads: whoever wrote it believes that it has an effect.

    Raises:
        ConfigurationError: there is one in `table`, which stands at `where`.
    """
    for key in table:
        if key not in known:
            raise ConfigurationError(
                f"{where} has an unknown key {key}",
                did_you_mean(key, known, f"its keys are {', '.join(known)}"),
            )


def _library(file: Path) -> Library:
    manifest = _read(file)
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


def _holds_files(folder: Path) -> bool:
    """Return whether a folder holds more than what a branch leaves behind that had tests there."""
    for _, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [each for each in folders if each != "__pycache__" and each[0] != "."]
        if any(name[0] != "." for name in names):
            return True
    return False


def _table(file: Path, name: str) -> dict[str, Any]:
    tools: dict[str, Any] = _read(file).get("tool", {})
    if "ops" in tools:
        raise ConfigurationError(
            f"{file} has a table [tool.ops], which is called [tool.stratakit] now",
            "python3 vendor/stratakit/upgrade.py",
        )
    table: dict[str, Any] = tools.get(name, {})
    return table


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error}", "fix the file, or take it from git again"
        ) from error
