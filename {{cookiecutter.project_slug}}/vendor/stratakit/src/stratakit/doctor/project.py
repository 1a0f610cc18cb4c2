"""Checks of the project: its tables, tests, settings, servers, git and template."""

import os
import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from .. import discovery, environment, project, pyproject
from .. import hooks as git_hooks
from .. import tiers as table
from ..environment import REINSTALL
from ..errors import AbsentError, ConfigurationError, InfrastructureError
from ..git import is_repository
from ..pyproject import ROOT
from ..tiers import Tier
from . import machine
from .machine import ask, version

if TYPE_CHECKING:
    from ..servers import Kind, Source

HINT = "uv run invoke setup"
DOTENV = ROOT / ".env"
URLS = (
    ("postgres", "DATABASE_URL", "postgresql://db.invalid/name"),
    ("redis", "REDIS_URL", "redis://cache.invalid"),
)
"""Kinds of servers, the setting with the URL of each, and a valid example."""
LOAD = "from {package} import settings; settings.load(settings.Settings)"
"""Code that loads the settings of a service as the service does when it starts."""
PROGRAMS = {"postgres": ("postgres",), "redis": ("valkey-server", "redis-server")}


def services() -> str:
    """Check the registry: the pyproject.toml of each service and of each library with tests."""
    pyproject.table()
    project.packages()
    found = project.services()
    if not found:
        raise AbsentError(
            "there is no service in services/", "uv run invoke service.add NAME --resource NOUN"
        )
    said = [f"{each.name} ({', '.join(each.needs) or 'needs nothing'})" for each in found]
    return ", ".join([*said, *(f"the library {each.name}" for each in project.libraries())])


def tiers() -> str:
    """Check the table of tiers, which combines the engine's and the project's."""
    own = {each.name for each in table.defaults()}
    names = [each.name if each.name in own else f"{each.name} (added)" for each in table.load()]
    return ", ".join(names)


def tests(tier: Tier) -> str:
    """Look for the folders that hold a tier's tests."""
    found = [
        folder
        for each in project.packages_of(tier) or (None,)
        for folder in project.folders(tier, each)
    ]
    return ", ".join(f"{folder.relative_to(ROOT).as_posix()}/" for folder in found)


def strays() -> str:
    """Look for tests that no tier would run."""
    discovery.refuse_strays(project.packages())
    return "every test belongs to a tier"


def of_tests() -> str:
    """Return the settings of test runs that differ from the defaults."""
    from .. import settings

    found = settings.load().model_dump(exclude_defaults=True, by_alias=True)
    said = [f"{name}={settings.masked(str(value))}" for name, value in found.items()]
    return ", ".join(said) or "nothing is set"


def of_services() -> str:
    """Check that .env exists, is readable, has no placeholders, and suits each service."""
    if not DOTENV.exists():
        raise InfrastructureError(
            ".env is not there", "uv run invoke setup, or: cp .env.example .env"
        )
    try:
        text = DOTENV.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f".env cannot be read: {error}", "cp .env.example .env, and set again what was yours"
        ) from error
    if "change_me" in text.lower():
        names = re.findall(r"(?im)^\s*(\w+)\s*=.*change_me", text)
        raise ConfigurationError(
            f"{', '.join(names)} in .env still holds the placeholder CHANGE_ME",
            "write the real value into .env",
        )
    return ", ".join(f"{each.name} {_read_by(each)}" for each in project.services())


def _read_by(service: project.Service) -> str:
    from ..stack import service_env

    given = {**service_env.dotenv(), **os.environ}
    # db.setup and all commands that start services write the URLs later, so none is an error here.
    lacking = {
        f"{service.prefix}{name}": url
        for kind, name, url in URLS
        if kind in service.needs and not given.get(f"{service.prefix}{name}")
    }
    done = ask(sys.executable, "-c", LOAD.format(package=service.package), env=lacking)
    if done.returncode == 0:
        service_env.refuse_misspelt(service, given)
        return "gets its URLs from db.setup" if lacking else "can start with it"
    # Our services end with this error after a traceback; others may not have such a module.
    said = done.stdout.rpartition("SettingsError: ")[2].strip()
    if said == done.stdout.strip():
        return "reads its settings in a way of its own"
    what, _, hint = said.partition("\n  hint: in the environment or in .env: ")
    raise ConfigurationError(f"{service.name}: {what}", hint or "correct it in .env")


def source(kind: "Kind") -> str:
    """Check the server that a test run would use; return it and the reason for the choice."""
    from .. import servers, settings
    from ..servers import external

    given = settings.load()
    if kind == "postgres":
        external.settle_environment(given)
    name, why = servers.choose(given, kind)
    if name == "url":
        with external.lease(kind, given) as address:
            return f"url ({why}): {settings.masked(address)} answers"
    refusal: str | None = import_module(f"..servers.{name}", __package__).refusal(kind)
    if refusal:
        raise InfrastructureError(
            f"{name} ({why}): {refusal}", "start Docker and get its images, or unset STRATA_SERVERS"
        )
    if name == "embedded":
        return f"{name} ({why}): {program(kind)}, data in {machine.server_data()}"
    return f"{name} ({why})"


def embedded() -> str:
    """Return the versions of the embedded servers."""
    return ", ".join([program("postgres"), program("redis")])


def extensions() -> str:
    """Check that the server of a test run has the extensions that migrations create.

    Raises:
        InfrastructureError: an extension is missing.
    """
    from .. import servers, settings
    from ..servers import extensions as known

    wanted = {each.name: known.created(each) for each in project.services()}
    names = ", ".join(sorted(set().union(*wanted.values()))) or "none"
    where, _ = servers.choose(settings.load(), "postgres")
    there = _extensions(where)
    lacking = {each: sorted(names - there) for each, names in wanted.items() if names - there}
    if lacking:
        listed = "; ".join(f"{each}: {', '.join(names)}" for each, names in lacking.items())
        raise InfrastructureError(
            f"the {where} PostgreSQL lacks extensions of migrations ({listed}); it has"
            f" {', '.join(sorted(there))}",
            known.elsewhere(min(min(each) for each in lacking.values())),
        )
    return f"{', '.join(sorted(there))} ({where}); migrations create: {names}"


def _extensions(where: "Source") -> set[str]:
    """Return the extensions of the server that a test run would use, without starting it."""
    from ..servers import binaries
    from ..servers import extensions as known

    if where == "docker":
        return known.of_images()
    if where == "url":
        return _given_extensions()
    if found := binaries.postgres():
        return known.carried(found.folder)
    program("postgres")
    return known.to_come()


def _given_extensions() -> set[str]:
    from .. import settings
    from ..database import connect
    from ..servers import external

    with external.lease("postgres", settings.load()) as address, connect(address) as connection:
        rows = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
    return {name for (name,) in rows}


def program(kind: "Kind") -> str:
    """Return the version of an embedded server's program.

    Raises:
        InfrastructureError: the program is missing, or does not start.
    """
    from ..servers import binaries

    found = binaries.here(kind)
    if why := binaries.refusal(kind):
        other = "STRATA_SERVERS=docker, or another major version in [tool.stratakit]"
        raise InfrastructureError(why, REINSTALL if kind == "redis" else other)
    if not found:
        return binaries.to_fetch()
    names = [found.folder / name for name in PROGRAMS[kind]]
    path = next((name for name in names if name.exists()), names[0])
    said = version(str(path), "--version", hint=REINSTALL)
    return said.partition(" sha=")[0]


def git() -> str:
    """Check that git is installed and the project is in a repository."""
    found = version("git", "--version", hint="install git, then: uv run invoke setup")
    if not is_repository(ROOT):
        raise InfrastructureError("the project is not in a git repository", HINT)
    return f"{found.removeprefix('git version ')}, and a repository"


def hooks() -> str:
    """Check that the hooks of .pre-commit-config.yaml are installed, and that they can run."""
    installed = git_hooks.look()
    version("uv", "--version", hint="python3 -m pip install uv")
    python = str(environment.python(environment.VENV))
    runs = version(python, "-B", "-m", "pre_commit", "--version", hint=HINT)
    return f"{installed}, run by {runs}"


def rejects() -> str:
    """Look for files that an update of the template could not merge."""
    from ..static import checks, runner

    left = checks.REJECTS.select(runner.project_files())
    if left:
        raise ConfigurationError(
            f"left by an update or a merge: {', '.join(left)}",
            "apply their changes by hand, then remove them",
        )
    return "no update left anything to merge"


def template() -> str:
    """Check that the project's template is recorded and reachable; return its state."""
    from ..scaffold import template

    if not template.RECORD.exists():
        raise InfrastructureError(
            "there is no .cruft.json, so the project cannot get updates of the template",
            "uvx cruft link URL-OF-THE-TEMPLATE",
        )
    recorded = template.recorded()
    newest = recorded.newest()
    said = f"{recorded.address} at {recorded.commit[:7]}"
    if newest != recorded.commit:
        said += f", which is at {newest[:7]} now: uvx cruft update"
    if ":" not in recorded.address:
        said += "; a path on this machine, which colleagues do not have"
    return said
