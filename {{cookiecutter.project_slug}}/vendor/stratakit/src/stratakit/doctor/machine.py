"""Room to write, and ports to listen on."""

import os
import shutil
import tempfile
from pathlib import Path

from .. import environment, project, pyproject
from ..errors import InfrastructureError, translated
from ..pyproject import ROOT
from .run import ask

ROOM = 200 * 2**20
"""Bytes that have to be free: about what one environment or one test database takes."""


def project_folder() -> str:
    """Look at where environments and reports go."""
    room(pyproject.REPORTS / ".runs", "free some, or move away what is in its place")
    return room(ROOT / ".nox", "free some")


def temporary_folder() -> str:
    """Look at where temporary files go: Python takes another folder where TMPDIR is of no use."""
    with translated("no folder is there for temporary files"):
        folder = os.environ.get("TMPDIR") or tempfile.gettempdir()
    if not Path(folder).is_dir():
        raise environment.unwritable_temporary_folder("there is no such folder")
    try:
        return room(Path(folder), "free some, or let TMPDIR name another folder")
    except InfrastructureError as error:
        named = "TMPDIR" if os.environ.get("TMPDIR") else "the folder for temporary files"
        raise InfrastructureError(f"{named}: {error.message}", error.hint) from error


def uv_cache() -> str:
    """Look at where uv keeps what it has downloaded."""
    done = ask(environment.uv(), "cache", "dir")
    if done.returncode:
        raise environment.diagnose(done.stdout)
    folder = Path(done.stdout.strip())
    if os.environ.get("UV_OFFLINE") and not folder.is_dir():
        raise InfrastructureError(
            f"UV_OFFLINE is set, and {folder} is empty: no environment can be made",
            "unset UV_OFFLINE",
        )
    return room(folder, "uv cache prune, or UV_CACHE_DIR=/a/folder/elsewhere")


def server_data() -> str:
    """Look at where embedded servers keep their data, and whether sockets may lie there."""
    from ..servers import home

    said: list[str] = []
    hint = ""
    *_, shared = folders = home.candidates()
    for folder in folders:
        try:
            if folder == shared:
                home.refuse_foreign(folder)
                home.refuse_closed(folder)
            refuse_noexec(folder)
            found = room(folder, f"free some, or {home.elsewhere()}")
        except InfrastructureError as error:
            said.append(error.message)
            hint = error.hint
            continue
        home.socket_folder(folder / "redis-01234567" / "store", ".s.PGSQL.5432")
        return "; ".join([found, *said])
    raise InfrastructureError("; ".join(said), hint)


def refuse_noexec(folder: Path) -> None:
    """Make sure that programs may be run in a folder, or where it would be made.

    Raises:
        InfrastructureError: they may not.
    """
    from ..servers import home

    there = next(path for path in (folder, *folder.parents) if path.exists())
    if home.noexec(there):
        raise InfrastructureError(
            f"no program may be run that lies in {folder}: what it is on is mounted noexec",
            home.elsewhere(),
        )


def room(folder: Path, hint: str) -> str:
    """Return how much room there is in a folder, or where it would be made.

    Raises:
        InfrastructureError: nothing can be written there, or next to nothing.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        # It never has a name, so nothing changes.
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(bytes(2**20))
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written to: {error.strerror}", hint
        ) from error
    if free < ROOM:
        raise InfrastructureError(f"{folder} has only {free / 2**20:.0f} MB left", hint)
    return f"{folder} ({free / 2**30:.0f} GB free)"


def ports() -> str:
    """Look whether the services' ports are free, or held by the services themselves."""
    from .. import stack
    from ..stack import ports as listening

    said: list[str] = []
    taken: list[InfrastructureError] = []
    for service in project.services():
        if service.port is None:
            continue
        try:
            listening.refuse_taken([service])
        except InfrastructureError as error:
            if any(each.name == service.name and each.up for each in stack.show()):
                said.append(f"{service.port} is {service.name}'s, which is up")
            else:
                taken.append(error)
        else:
            said.append(f"{service.port} is free for {service.name}")
    if taken:
        raise InfrastructureError("; ".join(each.message for each in taken), taken[0].hint)
    return ", ".join(said) or "no service has a port"
