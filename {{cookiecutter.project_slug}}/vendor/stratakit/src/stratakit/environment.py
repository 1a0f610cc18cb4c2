"""The environments that the tiers run in, made by uv from the lock file.

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
"""The environment of actions, an IDE and a bare pytest."""
ENVIRONMENTS = ROOT / ".nox"
"""Where those of the tiers are."""
PASSED = ENVIRONMENTS / "passed"
"""Where digests stand of what a check has passed, which is not made again before they change."""
GROUPS = ("dev", "test")
"""Of a library's dependency groups, those that its tests run with."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""What servers and services of a run are reached by."""
REINSTALL = "uv sync --all-packages --all-groups --reinstall"
"""What fixes an environment from which files are gone, which uv itself does not notice."""


def folder(tier: Tier, package: Package | None, python: str | None = None) -> Path:
    """Return where the environment is: one for all tiers of a package, else one for the tier.

    One of a tier with a dependency group of its own, or of another Python, is beside it.
    """
    home = of_package(package) if package else ENVIRONMENTS / tier.name
    if package and tier.group:
        home = home.with_name(f"{home.name}@{tier.group}")
    return home.with_name(plain(f"{home.name}@{python}")) if python else home


def of_package(package: Package) -> Path:
    """Return where the environment of all tiers of a package is."""
    return ENVIRONMENTS / f"{package.kind}-{package.name}"


def all_of(package: Package) -> list[Path]:
    """Return where environments of a package are: of its tiers, of the project's Python or not."""
    home = of_package(package)
    return [home, *ENVIRONMENTS.glob(f"{home.name}@*")]


def plain(name: str) -> str:
    """Return `name` as a folder may be called: a Python may be given by its path."""
    return re.sub(r"[^\w.@-]+", "-", name)


def python(environment: Path) -> Path:
    """Return the interpreter of an environment."""
    windows = sys.platform == "win32"
    return environment / ("Scripts/python.exe" if windows else "bin/python")


def variables(environment: Path) -> dict[str, str | None]:
    """Return what a process in an environment gets beside the caller's variables; None unsets."""
    return {"VIRTUAL_ENV": str(environment), **_bytecode(), **no_proxy()}


def _bytecode() -> dict[str, str | None]:
    """Let bytecode be kept: a run that compiles every package takes twice as long, or more.

    Containers often forbid it, to keep images small. The official ones are without that of the
    standard library as well, and an ordinary user may not add it there: then all of it is kept in
    a folder of the project. Elsewhere that folder would only have the library compiled once more.
    """
    library = Path(os.__file__)
    beside = Path(cache_from_source(library)).exists() or os.access(library.parent, os.W_OK)
    own: dict[str, str | None] = {"PYTHONPYCACHEPREFIX": str(ENVIRONMENTS / "bytecode")}
    return {"PYTHONDONTWRITEBYTECODE": None, **({} if beside else own)}


def no_proxy() -> dict[str, str]:
    """Return the variables by which no program asks a proxy for what is on this machine."""
    found = {}
    for name in ("NO_PROXY", "no_proxy"):
        given = os.environ.get(name) or os.environ.get(name.swapcase(), "")
        missing = [host for host in LOOPBACK if host not in given.split(",")]
        found[name] = ",".join(filter(None, (given, *missing)))
    return found


def moved(environment: Path) -> bool:
    """Return whether an environment was moved or copied, so that its programs start another's.

    uv itself looks after the packages of the workspace, and not after these.
    """
    program = python(environment).with_name("pytest")
    try:
        first, second = program.read_text(encoding="utf-8").splitlines()[:2]
    except (OSError, ValueError):
        return False
    # Through a shell where the path has a space or is long, or is to be found anew each time.
    starts = Path(shlex.split(second)[1] if first == "#!/bin/sh" else first.removeprefix("#!"))
    home = starts.parent
    return home.is_absolute() and not (home.exists() and home.samefile(program.parent))


def uv() -> str:
    """Return the path of uv.

    Raises:
        InfrastructureError: it is not installed.
    """
    # uv leaves its own path in UV, and need not have it on PATH; pip puts it beside Python.
    # On PATH it may be a version manager's script, which takes as long again. As nox looks for it.
    beside = shutil.which("uv", path=str(Path(sys.executable).parent))
    found = os.environ.get("UV") or beside or shutil.which("uv")
    if not found:
        raise InfrastructureError(
            "uv is not installed, or not on PATH: it makes the environments that the tiers run in",
            "python3 -m pip install uv",
        )
    return found


def sync(package: Package | None, environment: Path, group: str | None = None) -> tuple[str, ...]:
    """Return the command that makes or updates `environment`, for a package or for the rest.

    Args:
        package: whose.
        environment: where.
        group: a dependency group of a service that is needed besides `test`.

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
    # Not the default ones, which are all.
    own = (
        word for each in package.groups if each in {*GROUPS, group} for word in ("--group", each)
    )
    return ("--package", package.distribution, "--no-default-groups", *own)


def incomplete(missing: ImportError) -> StrataError:
    """Return what it means that an environment lacks something which it should have."""
    return InfrastructureError(
        f"the environment of {sys.executable} is incomplete: {missing}", REINSTALL
    )


def diagnose(output: str, python: str | None = None) -> StrataError:
    """Return what it means that uv failed and printed `output`; nox may have named a Python."""
    if python and any(sign in output for sign in (*NO_PYTHON, DOWNLOAD)):
        return InfrastructureError(
            f"there is no Python {python} here that works:\n{output.strip()}",
            f"uv python install {python}",
        )
    if python and NOT_ALLOWED in output:
        return ConfigurationError(
            f"the project is not for Python {python}:\n{output.strip()}",
            "name one that requires-python allows, for example: uv run nox -s unit -P 3.13",
        )
    folder = os.environ.get("TMPDIR")
    if folder and re.search(rf"at path \"{re.escape(folder.rstrip('/'))}/", output):
        return unwritable_temporary_folder(output.strip())
    found = next(each for each in _DIAGNOSES if any(sign in output for sign in each.signs))
    return found.kind(found.message.format(output=output.strip()), found.hint)


def unwritable_temporary_folder(why: str) -> InfrastructureError:
    """Return what it means that nothing can be written to the folder that TMPDIR names."""
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
"""Where uv takes a Python from that is not on this machine."""
NOT_ALLOWED = "the project's Python requirement"
WRONG_PYTHON = (*NO_PYTHON, NOT_ALLOWED)
"""What uv says of a Python that UV_PYTHON or .python-version asks for, and cannot be taken."""

_MISSING = "uv.lock is missing: it pins what the tiers run with, and belongs in git"

# The first that fits, so what is particular stands before what is general. The last fits always.
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
