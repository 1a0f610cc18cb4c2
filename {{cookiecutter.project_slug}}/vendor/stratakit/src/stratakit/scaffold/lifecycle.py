"""Adding a service and removing one: all of it, or nothing."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import environment, project
from ..environment import LOCK
from ..errors import InfrastructureError
from ..project import Service
from ..pyproject import ROOT
from . import template, workspace
from .preconditions import SERVICES, refuse_hiding, refuse_needed, refuse_taken


def add(name: str, resource: str, *, dry_run: bool = False) -> list[str]:
    """Bake the service `name`, which keeps `resource`, and lock it; return the paths of its files.

    A `dry_run` does all that can fail, and leaves the project as it is.

    Raises:
        ConfigurationError: there is something of that name, or the template refuses a name or is
            not recorded, or the dependencies do not go together. Nothing was changed.
        InfrastructureError: the template or the package index is out of reach, or git or uv is not
            installed, or a file cannot be written. Nothing was changed.
    """
    refuse_taken(name)
    services = {each.name: each.path for each in project.services()}
    with _scratch() as scratch:
        # Whatever the project began with, the next service is a skeleton.
        answers = {"starter": "blank", "service": name, "resource": resource, **_port()}
        baked = template.recorded().bake(scratch, **answers)
        fresh = baked / "services" / name
        refuse_hiding(fresh)
        files = [each.relative_to(baked) for each in fresh.rglob("*") if each.is_file()]
        lock = workspace.lock(scratch, {**services, name: fresh})
        if not dry_run:
            SERVICES.mkdir(exist_ok=True)
            _swap(fresh, SERVICES / name, lock)
    return sorted(each.as_posix() for each in files)


def remove(service: Service) -> None:
    """Remove a service and its environment, and lock the project without it.

    Raises:
        ConfigurationError: something needs it. Nothing was changed.
        InfrastructureError: uv is not installed, or a file cannot be written. Nothing was changed.
    """
    refuse_needed(service)
    others = {each.name: each.path for each in project.services() if each.name != service.name}
    with _scratch() as scratch:
        lock = workspace.lock(scratch, others)
        _swap(service.path, scratch / service.name, lock)
    for each in environment.all_of(service):
        shutil.rmtree(each, ignore_errors=True)


@contextmanager
def _scratch() -> Iterator[Path]:
    # On the disk of the project, so that to rename is one step; and in no checkout.
    home = ROOT / ".nox"
    try:
        home.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="scaffold-", dir=home) as folder:
            yield Path(folder)
    except OSError as error:
        raise InfrastructureError(
            f"a file cannot be written or read, so nothing was changed: {error}",
            "make room on the disk, or fix what it names",
        ) from error


def _port() -> dict[str, str]:
    """Return the template's variable for a port that no other service has."""
    taken = [each.port for each in project.services() if each.port]
    return {"__port": str(max(taken) + 1)} if taken else {}


def _swap(source: Path, target: Path, lock: Path) -> None:
    """Rename a folder, and put the lock that goes with it into its place."""
    source.rename(target)
    try:
        lock.replace(LOCK)
    except BaseException:
        target.rename(source)
        raise
    project.services.cache_clear()
