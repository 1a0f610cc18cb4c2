"""Adding and removing of services: completely, or not at all.

Steps that can fail use a scratch folder. The project is changed last, by renaming folders.
"""

import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .. import environment, limits, programs, project, servers, settings
from ..database import guards
from ..database.lifecycle import Database
from ..database.stamps import DEV, PURPOSES
from ..environment import LOCK
from ..errors import ConfigurationError, InfrastructureError
from ..git import GitError, git
from ..project import Service
from ..pyproject import ROOT
from ..stack import current, dev_servers
from ..static import versions
from . import template

SERVICES = ROOT / "services"
SHOWN = 5
"""Number of names that a message lists before `and N more`."""


def add(name: str, resource: str, *, dry_run: bool = False) -> list[str]:
    """Bake the service `name` with the resource `resource`, and lock it; return its files.

    A `dry_run` does everything that can fail, but leaves the project unchanged.

    Raises:
        ConfigurationError: the name is taken, the template rejects a name or is not recorded, or
            the dependencies conflict. Nothing was changed.
        InfrastructureError: the template or the package index is unreachable, git or uv is not
            installed, or a file cannot be written. Nothing was changed.
    """
    refuse_taken(name)
    services = {each.name: each.path for each in project.services()}
    with scratch() as folder:
        # Added services are always blank, whatever starter the project was baked with.
        answers = {"starter": "blank", "service": name, "resource": resource}
        ports = [each.port for each in project.services() if each.port]
        if ports:
            # A port that no other service has.
            answers["__port"] = str(max(ports) + 1)
        baked = template.recorded().bake(folder, **answers)
        fresh = baked / "services" / name
        for package in (fresh / "src").iterdir():
            refuse_hiding(package.name)
        files = [each.relative_to(baked) for each in fresh.rglob("*") if each.is_file()]
        # The project's Python version may have changed since it was baked.
        versions.correct(baked, [each.as_posix() for each in files])
        lock = locked(folder, {**services, name: fresh})
        if not dry_run:
            SERVICES.mkdir(exist_ok=True)
            _swap(fresh, SERVICES / name, lock)
    return sorted(each.as_posix() for each in files)


def remove(service: Service) -> None:
    """Remove a service and its environment, and lock the project without it.

    Raises:
        ConfigurationError: another package depends on it. Nothing was changed.
        InfrastructureError: uv is not installed, or a file cannot be written. Nothing was changed.
    """
    _refuse_needed(service)
    others = {each.name: each.path for each in project.services() if each.name != service.name}
    with scratch() as folder:
        lock = locked(folder, others)
        _swap(service.path, folder / service.name, lock)
    for each in environment.all_of(service):
        shutil.rmtree(each, ignore_errors=True)


@contextmanager
def databases(service: Service) -> Iterator[list[Database]]:
    """Yield the databases of a service on running servers; no server is started.

    Databases that no longer exist are included if snapshots of them do.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    with ExitStack() as stack:
        own = []
        for purpose in PURPOSES:
            try:
                up = stack.enter_context(_lease(kept=purpose == DEV))
            except InfrastructureError:
                continue
            own += [Database(each, service, purpose) for each in up]
        found = [(each, each.inspect()) for each in own]
        yield [
            each
            for each, it in found
            if (it.exists or each.snapshots()) and not guards.FOREIGN.broken(it)
        ]


def refuse_uncommitted(service: Service) -> None:
    """Refuse to remove a service that git could not restore.

    Raises:
        ConfigurationError: it has uncommitted changes, or is not in git.
        InfrastructureError: git is not installed.
    """
    folder = service.path.relative_to(ROOT).as_posix()
    status = ("status", "--porcelain", "--untracked-files=all", "--no-renames", "-z")
    try:
        entries = git(ROOT, *status, "--", folder).split("\0")
        changed = [entry.partition(f"{folder}/")[2] for entry in entries if entry]
        if not changed:
            # `git status` does not list a folder that is ignored as a whole.
            git(ROOT, "ls-files", "--error-unmatch", "--", f"{folder}/pyproject.toml")
    except GitError as error:
        raise ConfigurationError(
            f"git could not restore {folder}, since it says: {error}",
            f"uv run invoke service.remove {service.name} --force",
        ) from error
    if changed:
        raise ConfigurationError(
            f"{folder} has changes that are not committed, and would be lost: {few(changed)}",
            f"commit them, or: uv run invoke service.remove {service.name} --force",
        )


def refuse_taken(name: str) -> None:
    """Refuse a name that services/ already has, or a library in libs/.

    Raises:
        ConfigurationError: the name is taken.
    """
    if (ROOT / "libs" / name / "pyproject.toml").exists():
        # Even without tests yet: with tests, names of sessions would be ambiguous.
        raise ConfigurationError(
            f"there is a library {name} already, in libs/{name}", "take another name"
        )
    there = {entry.name: entry for entry in SERVICES.iterdir()} if SERVICES.exists() else {}
    if name not in there:
        return
    folder = f"services/{name}"
    if (there[name] / "pyproject.toml").exists():
        raise ConfigurationError(
            f"there is a service {name} already, in {folder}",
            "take another name; uv run invoke service.list shows those that are taken",
        )
    found = [each.name for each in there[name].iterdir()] if there[name].is_dir() else ["a file"]
    raise ConfigurationError(
        f"{folder} is there and is not a service: {few(found) or 'an empty folder'}",
        f"check its content, then remove it: rm -r {folder}",
    )


def refuse_hiding(package: str) -> None:
    """Refuse the package name of a library or another service: one would hide the other.

    Raises:
        ConfigurationError: the name is taken.
    """
    for other in ROOT.glob(f"*/*/src/{package}"):
        raise ConfigurationError(
            f"{other.relative_to(ROOT)} already exists, and one of two packages called"
            f" {package} would hide the other",
            "take another name",
        )


def _refuse_needed(service: Service) -> None:
    """Refuse to remove a service that another package of the project depends on.

    Raises:
        ConfigurationError: one does.
    """
    for file in (*ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")):
        uv = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("uv", {})
        if service.distribution in uv.get("sources", {}):
            raise ConfigurationError(
                f"{file.relative_to(ROOT)} has {service.distribution} among its sources, so"
                f" services/{service.name} is needed",
                "take it out of there, then run it again",
            )


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a scratch folder for incomplete files.

    Raises:
        InfrastructureError: it cannot be created, or a file in the block cannot be written.
    """
    # On the project's disk, so that renaming out of it is atomic; ignored by git.
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


def _swap(source: Path, target: Path, lock: Path) -> None:
    """Rename a folder, and install the lock that goes with it."""
    source.rename(target)
    try:
        lock.replace(LOCK)
    except BaseException:
        target.rename(source)
        raise
    project.services.cache_clear()


def locked(
    scratch: Path, services: Mapping[str, Path], texts: Mapping[Path, str] | None = None
) -> Path:
    """Return the path of a lock, in `scratch`, of the project with exactly these services.

    Args:
        scratch: an empty folder.
        services: path of each service, by name.
        texts: new contents of files of the project, by relative path.

    Raises:
        ConfigurationError: their dependencies conflict.
        InfrastructureError: uv is not installed, or cannot reach the package index.
    """
    workspace = scratch / "workspace"
    (workspace / "services").mkdir(parents=True)
    for entry in ROOT.iterdir():
        if entry.name not in {".git", ".nox", "services", LOCK.name}:
            (workspace / entry.name).symlink_to(entry)
    for name, path in services.items():
        (workspace / "services" / name).symlink_to(path)
    for file, text in (texts or {}).items():
        _overlay(workspace, file, text)
    if LOCK.exists():
        # So that packages keep their locked versions.
        shutil.copy(LOCK, workspace)
    said = ""
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    # Offline first: a service seldom needs packages that are not locked yet.
    for flags in (["--offline"], []):
        command = [environment.uv(), "lock", "--quiet", *flags]
        done = programs.run(command, limits.DOWNLOAD, cwd=workspace, env=env)
        if done.returncode == 0:
            return workspace / LOCK.name
        said = done.stderr.strip()
    cause = environment.diagnose(said)
    raise type(cause)(f"uv cannot lock the project, so nothing was changed:\n{said}", cause.hint)


def _overlay(workspace: Path, file: Path, text: str) -> None:
    """Write a file into a folder of links; links to its parents become folders of links."""
    for parent in [*file.parents][-2::-1]:
        folder = workspace / parent
        if folder.is_symlink():
            source = folder.resolve()
            folder.unlink()
            folder.mkdir()
            for entry in source.iterdir():
                (folder / entry.name).symlink_to(entry)
    (workspace / file).unlink(missing_ok=True)
    (workspace / file).write_text(text, encoding="utf-8")


@contextmanager
def _lease(*, kept: bool) -> Iterator[list[servers.Server]]:
    """Lease the PostgreSQL of `dev` databases, or of test runs, only if it is already up."""
    wanted = settings.load()
    if kept:
        wanted = dev_servers.settings_of(current()[0], "postgres")
    source, _ = servers.choose(wanted, "postgres")
    up = True
    # Imported here: Windows supports neither.
    if source == "docker":
        from ..servers import compose

        up = bool(compose.run("ps", "--quiet", "postgres").strip())
    elif source == "embedded":
        from ..servers import embedded

        up = embedded.find_running("postgres", kept=kept) is not None
    if not up:
        yield []
        return
    # A server that belongs to a run must still stop with it; only Docker's are persistent.
    persistent = source == "docker"
    with servers.lease(wanted, ("postgres",), persistent=persistent, kept=kept) as leased:
        yield [leased["postgres"]]


def few(names: Sequence[str]) -> str:
    """Return the first of some names, and the number of the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more
