"""Specifications of the embedded servers: folders, options and commands.

Each kind has two servers. The one for test runs is fast and may lose its data: PostgreSQL in a
power failure, Redis when it stops. The one for `dev` keeps its data, and each checkout has its own.
"""

import shlex
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from .. import limits, pyproject
from ..errors import InfrastructureError, translated
from . import binaries, carriers, checkout
from .home import cache, data, elsewhere, made, noexec, place, server_user, sockets, store
from .supervisor import NOTE
from .waiting import locked

if TYPE_CHECKING:
    from . import Kind

FORMAT = 1
"""Format version of a server's folder; increase it when the layout changes."""

POSTGRES_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    # Fast, because the data may be lost in a power failure.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "jit": "off",
    "checkpoint_timeout": "1h",
}
KEPT_POSTGRES_OPTIONS = {"listen_addresses": "", "unix_socket_permissions": "0700"}
"""Options of the server of `dev`; the rest are PostgreSQL's defaults, with fsync and autovacuum."""
REDIS_OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "databases": "64",
    "save": "",
    "appendonly": "no",
}
KEPT_REDIS_OPTIONS = {**REDIS_OPTIONS, "appendonly": "yes"}
"""Options of the server of `dev`: a crash of the machine may lose one second of writes."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """Folder, command and URL of one server."""

    kind: "Kind"
    home: Path
    """Folder of our own files: the lease, the locks, the log."""
    programs: Path
    """Folder for the copied programs, if a wheel carries them."""
    socket: Path
    url: str
    command: list[str]
    prepare: list[str] | None = None
    """Command that creates the data in the folder `init`, once; None if a server needs none."""
    kept: bool = False
    """Whether its data must survive a crash of the machine, and is never recreated."""

    @property
    def store(self) -> Path:
        """Folder of the server's own files: its data and its sockets."""
        return self.home / "store"

    @property
    def data(self) -> Path:
        """Folder of its data."""
        return self.store / "data"

    @property
    def note(self) -> Path:
        """File with its process id, written by its supervisor."""
        return self.home / NOTE

    @property
    def anew(self) -> str:
        """Command to start over with empty data; data that is `kept` is moved, not deleted."""
        own = shlex.quote(str(self.home))
        return f"mv {own} {own}.old" if self.kept else f"rm -r {own}"


def set_up(kind: "Kind") -> AbstractContextManager[None]:
    """Return a context manager that translates the operating system's errors."""
    return translated(f"the embedded {kind} cannot be set up")


def plan(kind: "Kind", *, kept: bool = False) -> ServerSpec:
    """Return the specification of a server; `kept` is the one of `dev`.

    Raises:
        InfrastructureError: its programs are not installed, or its folder cannot be created.
    """
    with set_up(kind):
        found = binaries.installation(kind)
        return (_postgres if kind == "postgres" else _redis)(found, kept=kept)


def refuse_other_major(of: ServerSpec, *, up: bool) -> None:
    """Make sure that existing data is from the project's major version.

    Args:
        of: the server of the data.
        up: whether a server is running on it.

    Raises:
        InfrastructureError: it is from another major, and can be neither opened nor replaced.
    """
    there = (of.data / "PG_VERSION").read_text(encoding="ascii").strip()
    wanted = pyproject.postgres()
    if there == wanted:
        return
    down = "uv run invoke stack.down && " if up else ""
    begin = f"mv {shlex.quote(str(of.home))} {shlex.quote(str(of.home))}.{there}"
    raise InfrastructureError(
        f"the data of dev in {of.data} was made by PostgreSQL {there}, and PostgreSQL {wanted}"
        " is what runs here: it was not opened",
        f"{carriers.to_stay(there)}\n  to dump it: {down}{_dump(of, there)}"
        f"\n  to start over, beside it: {down}{begin}",
    )


def _dump(of: ServerSpec, major: str) -> str:
    """Return the command that dumps the data of another major version with its own programs."""
    copies = place().glob("pg-*/programs/*/*/bin/postgres")
    system = Path(f"/usr/lib/postgresql/{major}/bin/postgres")
    own = next((each for each in copies if binaries.major_of(each) == major), system).parent
    user = server_user()
    run = f"runuser -u {user.pw_name} -- {own}" if user else f"{own}"
    beside = (own / "pg_dumpall").exists()
    # npm packages have no pg_dumpall; a newer one works as well.
    dump = f"{run}/pg_dumpall" if beside else binaries.client("pg_dumpall") or "pg_dumpall"
    where, host = shlex.quote(str(of.data)), shlex.quote(str(of.store))
    start = shlex.quote(f"-c listen_addresses= -k {host}")
    return (
        f"cd / && {run}/pg_ctl -w -D {where} -o {start} start >/dev/null"
        f" && {dump} -h {host} -U postgres >~/dev-{major}.sql"
        f"; {run}/pg_ctl -w -D {where} stop"
    )


def _programs(found: binaries.Installation, home: Path) -> Path:
    """Return the folder to run the programs from, copying them there if necessary."""
    with locked(home / "programs.lock", "copies the programs of servers", limits.DATA):
        ready = found.copied(home / "programs")
    if noexec(ready):
        raise InfrastructureError(
            f"programs in {ready} cannot be run: its file system is mounted noexec",
            elsewhere(),
        )
    return ready


def _postgres(found: binaries.Installation, *, kept: bool) -> ServerSpec:
    identity = binaries.key(FORMAT, found.version or found.folder, POSTGRES_OPTIONS)
    cached = _home(f"pg-{identity}")
    ready = _programs(found, cached)
    home = made(data() / checkout.named("dev"), 0o711) if kept else cached
    folder = sockets(store(home / "store"), ".s.PGSQL.5432")
    chosen = KEPT_POSTGRES_OPTIONS if kept else POSTGRES_OPTIONS
    options = [word for item in chosen.items() for word in ("-c", "=".join(item))]
    return ServerSpec(
        kind="postgres",
        home=home,
        programs=cached / "programs",
        socket=folder / ".s.PGSQL.5432",
        url=f"postgresql://postgres@/postgres?host={quote(str(folder), safe='')}&port=5432",
        command=[
            *(str(ready / "postgres"), "-D", str(home / "store" / "data")),
            *("-k", str(folder), *options),
        ],
        prepare=[
            *(str(ready / "initdb"), "-D", str(home / "store" / "init"), "-U", "postgres"),
            *("-E", "UTF8", "--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"),
            # The socket's folder keeps other users out; a password would be one more secret.
            *("--auth=trust", "--no-instructions"),
            *(() if kept else ("--no-sync", "--wal-segsize=1")),
        ],
        kept=kept,
    )


def _redis(found: binaries.Installation, *, kept: bool) -> ServerSpec:
    identity = binaries.key(FORMAT, found.version or found.folder, REDIS_OPTIONS)
    cached = _home(f"redis-{identity}")
    ready = _programs(found, cached)
    home = made(data() / checkout.named("dev-redis"), 0o711) if kept else cached
    names = ("valkey-server", "redis-server")
    program = next(ready / name for name in names if (ready / name).exists())
    place = sockets(store(home / "store"), "redis.sock") / "redis.sock"
    chosen = KEPT_REDIS_OPTIONS if kept else REDIS_OPTIONS
    options = [word for name, value in chosen.items() for word in (f"--{name}", value)]
    return ServerSpec(
        kind="redis",
        home=home,
        programs=cached / "programs",
        socket=place,
        url=f"unix://{quote(str(place))}",
        # It writes to its working directory, which is its store.
        command=[str(program), "--unixsocket", str(place), *options],
        kept=kept,
    )


def _home(name: str) -> Path:
    # Others may pass through but not list it: `nobody` has to, below root's cache.
    return made(cache() / name, 0o711)
