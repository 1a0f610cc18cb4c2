"""Virtual environments of the tiers, created by uv from the lock file.

Standard library only, since noxfile.py imports it.
"""

import os
import re
import shlex
import shutil
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

from .errors import ConfigurationError, InfrastructureError, StrataError
from .project import Package
from .pyproject import ROOT
from .tiers import Tier

LOCK = ROOT / "uv.lock"
VENV = ROOT / ".venv"
"""Environment of actions, an IDE and a bare pytest."""
ENVIRONMENTS = ROOT / ".nox"
"""Folder of the tiers' environments."""
PASSED = ENVIRONMENTS / "passed"
"""Digests of files that have passed a check, which is skipped until they change."""
GROUPS = ("dev", "test")
"""Dependency groups that the tests of a package run with, if it has them."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts of a run's servers and services."""
REINSTALL = "uv sync --all-packages --all-groups --reinstall"
"""Command that repairs an environment with missing files, which uv does not notice."""


def folder(tier: Tier, package: Package | None, python: str | None = None) -> Path:
    """Return the path of a tier's environment: shared by all tiers of a package, or the tier's own.

    A tier with its own dependency group, or run on another Python, has a separate one beside it.
    """
    home = of_package(package) if package else ENVIRONMENTS / tier.name
    if package and tier.group:
        home = home.with_name(f"{home.name}@{tier.group}")
    return home.with_name(plain(f"{home.name}@{python}")) if python else home


def of_package(package: Package) -> Path:
    """Return the path of the environment that the tiers of a package share."""
    return ENVIRONMENTS / f"{package.kind}-{package.name}"


def all_of(package: Package) -> list[Path]:
    """Return the paths of all environments of a package, including those of other Pythons."""
    home = of_package(package)
    return [home, *ENVIRONMENTS.glob(f"{home.name}@*")]


def plain(name: str) -> str:
    """Return `name` as a valid folder name: a Python may be given by its path."""
    return re.sub(r"[^\w.@-]+", "-", name)


def python(environment: Path) -> Path:
    """Return the interpreter of an environment."""
    windows = sys.platform == "win32"
    return environment / ("Scripts/python.exe" if windows else "bin/python")


def variables(environment: Path) -> dict[str, str | None]:
    """Return the variables to set for a process in an environment; None unsets one."""
    return {
        "VIRTUAL_ENV": str(environment),
        # Optimized, Python drops docstrings, without which pytest does not start, and assertions.
        "PYTHONOPTIMIZE": None,
        **_bytecode(),
        **no_proxy(),
    }


def _bytecode() -> dict[str, str | None]:
    """Return variables that enable bytecode caching: without it, a run takes twice as long or more.

    Containers often disable it, to keep images small. The official ones also lack the bytecode of
    the standard library, and an ordinary user cannot write it there: then all of it is cached in
    a folder of the project. Elsewhere, such a folder would only recompile the standard library.
    """
    library = Path(os.__file__)
    beside = Path(cache_from_source(library)).exists() or os.access(library.parent, os.W_OK)
    own: dict[str, str | None] = {"PYTHONPYCACHEPREFIX": str(ENVIRONMENTS / "bytecode")}
    return {"PYTHONDONTWRITEBYTECODE": None, **({} if beside else own)}


def no_proxy() -> dict[str, str]:
    """Return the variables that exclude this machine from proxying."""
    found = {}
    for name in ("NO_PROXY", "no_proxy"):
        given = os.environ.get(name) or os.environ.get(name.swapcase(), "")
        missing = [host for host in LOOPBACK if host not in given.split(",")]
        found[name] = ",".join(filter(None, (given, *missing)))
    return found


def moved(environment: Path) -> bool:
    """Return whether an environment was moved or copied, so its scripts start another's Python.

    uv repairs the packages of the workspace itself, but not these scripts.
    """
    program = python(environment).with_name("pytest")
    try:
        first, second = program.read_text(encoding="utf-8").splitlines()[:2]
    except (OSError, ValueError):
        return False
    # The script goes through a shell if the path has spaces, is long, or is relocatable.
    starts = Path(shlex.split(second)[1] if first == "#!/bin/sh" else first.removeprefix("#!"))
    home = starts.parent
    return home.is_absolute() and not (home.exists() and home.samefile(program.parent))


def uv() -> str:
    """Return the path of uv.

    Raises:
        InfrastructureError: it is not installed.
    """
    # `uv run` sets UV to its own path and may not be on PATH; pip installs it beside Python. On
    # PATH it may be the shim of a version manager, which doubles the time. Same order as nox.
    beside = shutil.which("uv", path=str(Path(sys.executable).parent))
    found = os.environ.get("UV") or beside or shutil.which("uv")
    if not found:
        raise InfrastructureError(
            "uv is not installed, or not on PATH: it makes the environments that the tiers run in",
            "python3 -m pip install uv",
        )
    return found


def sync(package: Package | None, environment: Path, group: str | None = None) -> tuple[str, ...]:
    """Return the command that creates or updates `environment`.

    Args:
        package: its package; None for an environment with everything.
        environment: its path.
        group: a dependency group of the package that is needed besides `test`.

    Raises:
        ConfigurationError: there is no lock file, or a package lacks a dependency group.
        InfrastructureError: uv is not installed.
    """
    if not LOCK.exists():
        raise ConfigurationError(_MISSING, "uv run invoke setup")
    anew = ("--reinstall",) if moved(environment) else ()
    return (uv(), "sync", "--locked", *_selection(package, group), *anew)


def _selection(package: Package | None, group: str | None) -> tuple[str, ...]:
    if package is None:
        return ("--all-packages", "--all-groups")
    needed = ("test", group) if group else ("test",)
    for name in needed:
        if name not in package.groups:
            runs = "stratakit" if name == "test" else "locust>=2.47,<3"
            raise ConfigurationError(
                f"{package.path.relative_to(ROOT).as_posix()} has tests, but no dependency group"
                f" `{name}` to run them with",
                f"uv add --package {package.distribution} --group {name} {shlex.quote(runs)}",
            )
    # uv's default groups would be all of them.
    own = (
        word for each in package.groups if each in {*GROUPS, group} for word in ("--group", each)
    )
    return ("--package", package.distribution, "--no-default-groups", *own)


def incomplete(missing: ImportError) -> StrataError:
    """Return the error for an environment with a missing package."""
    return InfrastructureError(
        f"the environment of {sys.executable} is incomplete: {missing}", REINSTALL
    )


def diagnose(output: str, python: str | None = None) -> StrataError:
    """Return the error for a failure of uv with this output; nox may have requested a Python."""
    if python and any(sign in output for sign in (*NO_PYTHON, DOWNLOAD)):
        return InfrastructureError(
            f"there is no Python {python} here that works:\n{output.strip()}",
            f"uv python install {python}",
        )
    if python and NOT_ALLOWED in output:
        return ConfigurationError(
            f"the project does not support Python {python}:\n{output.strip()}",
            "choose one that requires-python allows, for example: uv run nox -s unit -P 3.13",
        )
    folder = os.environ.get("TMPDIR")
    if folder and re.search(rf"at path \"{re.escape(folder.rstrip('/'))}/", output):
        return unwritable_temporary_folder(output.strip())
    found = next(each for each in _DIAGNOSES if any(sign in output for sign in each.signs))
    return found.kind(found.message.format(output=output.strip()), found.hint)


def unwritable_temporary_folder(why: str) -> InfrastructureError:
    """Return the error for a TMPDIR that cannot be written to."""
    return InfrastructureError(
        f"TMPDIR={os.environ.get('TMPDIR')} cannot be written to: {why}",
        "unset TMPDIR, or let it name a folder that can be written to",
    )


class _Diagnosis(NamedTuple):
    signs: tuple[str, ...]
    kind: type[StrataError]
    message: str
    hint: str


NO_PYTHON = ("No interpreter found", "Failed to inspect Python interpreter")
DOWNLOAD = "python-build-standalone"
"""Source of the Pythons that uv downloads."""
NOT_ALLOWED = "the project's Python requirement"
WRONG_PYTHON = (*NO_PYTHON, NOT_ALLOWED)
"""Messages of uv about a Python from UV_PYTHON or .python-version that it cannot use."""

_MISSING = "uv.lock is missing: it pins what the tiers run with, and belongs in git"

# The first match wins, so specific entries come before general ones. The last matches always.
_DIAGNOSES = (
    _Diagnosis(
        ("needs to be updated",),
        ConfigurationError,
        "uv.lock is stale: a pyproject.toml has changed since it was made",
        "uv lock",
    ),
    _Diagnosis(
        ("Unable to find lockfile",),
        ConfigurationError,
        _MISSING,
        "uv lock",
    ),
    _Diagnosis(
        ("is missing a `pyproject.toml`",),
        ConfigurationError,
        "a folder in services/ or libs/ is not a package:\n{output}",
        "give it a pyproject.toml, or move it to another place",
    ),
    _Diagnosis(
        ("Failed to parse",),
        ConfigurationError,
        "uv cannot read one of its files:\n{output}",
        "fix the file that it names; a lock that cannot be fixed: rm uv.lock && uv lock",
    ),
    _Diagnosis(
        WRONG_PYTHON,
        ConfigurationError,
        "uv is told to use a Python that it cannot use here:\n{output}",
        "unset UV_PYTHON, or correct .python-version",
    ),
    _Diagnosis(
        ("Failed to initialize cache", "No space left", "File too large", "Read-only file system"),
        InfrastructureError,
        "uv could not make the environment, since it cannot write:\n{output}",
        "make room, or set UV_CACHE_DIR to a folder that can be written to",
    ),
    _Diagnosis(
        ("network was disabled", "Network connectivity is disabled"),
        InfrastructureError,
        "uv could not make the environment, since it may not use the network:\n{output}",
        "unset UV_OFFLINE, and run it again",
    ),
    _Diagnosis(
        ("No solution found", "requires-python"),
        ConfigurationError,
        "uv cannot resolve the dependencies:\n{output}",
        "uv lock",
    ),
    _Diagnosis(
        ("",),
        InfrastructureError,
        "uv could not make the environment:\n{output}",
        "see whether the network and the package index answer, then run it again",
    ),
)
