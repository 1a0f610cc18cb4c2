"""The one table that everything reads: the tiers, what they need, the services there are.

noxfile.py, tasks.py, the pytest markers, CI and the tables in the documents derive from it.
Standard library only, since noxfile.py imports it in whatever environment runs nox.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from .errors import AbsentError, ConfigurationError, did_you_mean

ROOT = Path(__file__).resolve().parents[3]
REPORTS = ROOT / "reports"


@dataclass(frozen=True, slots=True)
class Resource:
    """Something outside of the code that a tier needs before it can run."""

    name: str
    means: str


POSTGRES = Resource("postgres", "PostgreSQL: url, docker or embedded")
REDIS = Resource("redis", "Redis: url, docker or embedded")
DOCKER = Resource("docker", "a Docker engine that answers")
STACK = Resource("stack", "a running stack")
ACCOUNT = Resource("account", "a cloud account, or the provider `local`")


@dataclass(frozen=True, slots=True)
class Tier:
    """One question about the code, asked as `nox -s NAME`.

    `paths` are the folders that hold its tests, relative to a service (scope `service`) or to the
    repository. Budgets are seconds, for the whole tier and for one test; a test that takes longer
    than `timeout` seconds is stopped.
    """

    name: str
    proves: str
    scope: Literal["service", "repository"]
    paths: tuple[str, ...] = ()
    needs: tuple[Resource, ...] = ()
    default: bool = False
    parallel: bool = False
    budget: float | None = None
    test_budget: float | None = None
    timeout: float | None = None

    def folders(self, service: "Service | None") -> list[Path]:
        """Return the folders that hold the tier's tests; none for a tier that has no tests.

        Raises:
            AbsentError: the tier has tests elsewhere, but none here.
        """
        home = service.path if service else ROOT
        if self.scope == "service" and not service:
            raise AbsentError("there is no service in services/", "uv run invoke graph")
        found = [home / path for path in self.paths if (home / path).is_dir()]
        if self.paths and not found:
            wanted = (home / self.paths[0]).relative_to(ROOT)
            raise AbsentError(f"there is no tier {self.name} here: it needs tests in {wanted}/")
        return found


STATIC = Tier(
    name="static",
    proves="format, lint, types, lock, workflows, Dockerfiles, secrets",
    scope="repository",
    default=True,
    parallel=True,
    budget=30,
)
UNIT = Tier(
    name="unit",
    proves="handlers and domain on fakes; sockets are blocked",
    scope="service",
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
    proves="real PostgreSQL and Redis: migrations, repositories, contracts, smoke, end to end",
    scope="service",
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
    proves="the Compose stack, Terraform, local clouds",
    scope="repository",
    paths=("tests/infrastructure",),
    needs=(DOCKER,),
    budget=600,
)
LOAD = Tier(
    name="load",
    proves="throughput, percentiles and error rate against thresholds",
    scope="service",
    paths=("tests/load",),
    needs=(STACK,),
)
CLOUD = Tier(
    name="cloud",
    proves="a spot instance: credentials, launch, health, request, teardown",
    scope="repository",
    paths=("tests/cloud",),
    needs=(ACCOUNT,),
    budget=900,
)

TIERS = (STATIC, UNIT, INTEGRATION, INFRASTRUCTURE, LOAD, CLOUD)


@dataclass(frozen=True, slots=True)
class Kind:
    """Tests of integration that can be asked for by `-m NAME`.

    They are in tests/integration/NAME/ or in a file test_NAME*.py. The budget is that of one test,
    in seconds.
    """

    name: str
    proves: str
    test_budget: float


KINDS = (
    Kind("smoke", "the process as it is started in production answers, and in time", 5),
    Kind("contract", "the API is what its description says, and what its clients expect", 30),
    Kind("e2e", "a user's whole way, as it should go and as it should not", 300),
)

MEASURED = (UNIT, INTEGRATION)
COVERAGE = Tier(
    name="coverage",
    proves="how many of the lines unit and integration run together",
    scope="repository",
)
"""No tier, but the session that judges the `MEASURED` ones together."""
SESSIONS = (*TIERS, COVERAGE)


PROJECT_KEYS = ("project", "python", "destroyable_hosts", "uncleaned", "coverage", "static")
"""What `[tool.ops]` of the project may hold."""
SERVICE_KEYS = (
    *("package", "needs", "metadata", "port", "app", "secrets", "critical"),
    "downloads",
)
"""What `[tool.ops.service]` of a service may hold."""


@dataclass(frozen=True, slots=True)
class Service:
    """A folder under services/ whose pyproject.toml has a `[tool.ops.service]` table."""

    name: str
    path: Path
    distribution: str
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
    """Return the `[tool.ops]` table of the project.

    Raises:
        ConfigurationError: pyproject.toml is not readable, or does not name the project there, or
            holds a key that nothing reads.
    """
    table = _table(ROOT / "pyproject.toml", "ops")
    refuse_unknown(table, PROJECT_KEYS, "[tool.ops] of pyproject.toml")
    if "project" not in table:
        raise ConfigurationError(
            "pyproject.toml does not say what the project is called on this machine",
            'add it, for example: [tool.ops] project = "acme"',
        )
    return table


@cache
def services() -> tuple[Service, ...]:
    """Return the services of the project, by name.

    Raises:
        ConfigurationError: the pyproject.toml of one of them is not readable, lacks a key, or holds
            one that nothing reads.
    """
    return tuple(_service(file) for file in sorted((ROOT / "services").glob("*/pyproject.toml")))


def service(name: str) -> Service:
    """Return the service called `name`.

    Raises:
        ConfigurationError: there is none.
    """
    for candidate in services():
        if candidate.name == name:
            return candidate
    known = [candidate.name for candidate in services()]
    raise ConfigurationError(
        f"there is no service {name!r}; there are: {', '.join(known) or 'none'}",
        f"{did_you_mean(name, known)}uv run invoke graph",
    )


def tier(name: str) -> Tier:
    """Return the tier called `name`.

    Raises:
        ConfigurationError: there is none.
    """
    for candidate in TIERS:
        if candidate.name == name:
            return candidate
    known = [candidate.name for candidate in TIERS]
    raise ConfigurationError(
        f"there is no tier {name!r}; there are: {', '.join(known)}",
        f"{did_you_mean(name, known)}uv run invoke graph",
    )


def _service(file: Path) -> Service:
    where = file.relative_to(ROOT)
    table = _table(file, "ops")
    refuse_unknown(table, ("service",), f"[tool.ops] of {where}")
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
            'write it, for example: [tool.ops.service] package = "billing"',
        ) from missing
    refuse_unknown(table, SERVICE_KEYS, f"[tool.ops.service] of {where}")
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
                f"{did_you_mean(key, known)}its keys are {', '.join(known)}",
            )


def _table(file: Path, name: str) -> dict[str, Any]:
    table: dict[str, Any] = _read(file).get("tool", {}).get(name, {})
    return table


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error}", "mend the file, or take it from git again"
        ) from error
