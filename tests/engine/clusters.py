"""PostgreSQL servers that one test starts for itself, and proxies in front of them."""

import os
import secrets
import selectors
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url

from stratakit import programs
from stratakit.errors import AbsentError
from stratakit.servers import binaries, home, external
from stratakit.servers.waiting import until

OPTIONS = (
    "fsync=off",
    "max_prepared_transactions=9",
    "unix_socket_directories=",
    "shared_buffers=8MB",
)


def free_port(*hosts: str) -> int:
    """Return a port that is free at each of the addresses."""
    while True:
        port = programs.free_port()
        with ExitStack() as stack, suppress(OSError):
            for host in hosts:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                stack.enter_context(socket.socket(family)).bind((host, port))
            return port


def addresses_of(name: str) -> set[str]:
    """Return the addresses that a name has on this machine."""
    return {str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}


@contextmanager
def cluster(host: str, port: int, *, standby: bool = False) -> Iterator[str]:
    """Run a separate server, or a standby, at an address; yield its URL."""
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    user = home.server_user()
    rights = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    # A program that runs as `nobody` cannot enter the folders of root's environment.
    folder.chmod(0o711)
    programs = binaries.installation("postgres").copied(folder / "programs")
    data = home.store(folder / "data")
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust"]
    quiet = {"cwd": data, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **rights}
    subprocess.run([*initdb, "--no-sync", "--locale=C", "-E", "UTF8"], check=True, **quiet)
    if standby:
        # It has no primary: it waits for one, and answers queries meanwhile.
        (data / "standby.signal").touch()
    words = [word for each in (*OPTIONS, f"listen_addresses={host}") for word in ("-c", each)]
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *words]
    process = subprocess.Popen(command, **quiet)
    address = f"postgresql://postgres@{f'[{host}]' if ':' in host else host}:{port}/postgres"
    try:
        until(lambda: external.ping("postgres", address), 30)
        yield address
    finally:
        process.terminate()
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def server_of(url: str) -> str:
    """Return the URL of a database's server, given the database's SQLAlchemy URL."""
    maintenance = make_url(url).set(drivername="postgresql", database="postgres")
    return maintenance.render_as_string(hide_password=False)


@contextmanager
def pooler(databases: str, mode: str = "session") -> Iterator[str]:
    """Run pgbouncer; yield its URL as the user `postgres`."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if not program:
        # No wheel contains it, and a fake pooler would keep the locks that a real one loses.
        raise AbsentError("there is no pgbouncer", "apt install pgbouncer", part="pgbouncer")
    # The path is short, and open to `nobody`, the user it runs as when root starts it.
    folder = Path(tempfile.gettempdir()) / f"pool-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    settings = folder / "pgbouncer.ini"
    user = "" if os.geteuid() else "user = nobody"
    settings.write_text(
        f"""
[databases]
{databases}
[pgbouncer]
listen_port = 6432
listen_addr =
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
server_round_robin = 1
server_reset_query_always = 1
ignore_startup_parameters = extra_float_digits
{user}
"""
    )
    process = subprocess.Popen(
        [program, str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"postgresql://postgres@/postgres?host={folder}&port=6432"
    try:
        until(lambda: external.ping("postgres", address), 10)
        yield address
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


@contextmanager
def balancer(choose: Callable[[int], tuple[str, int]]) -> Iterator[str]:
    """Forward each connection to the address that `choose` has for its number; yield the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    numbers = iter(range(10_000))

    def forward(client: socket.socket) -> None:
        with (
            client,
            socket.create_connection(choose(next(numbers))) as server,
            selectors.DefaultSelector() as ready,
            suppress(OSError),
        ):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=forward, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"postgresql://postgres@127.0.0.1:{listener.getsockname()[1]}/postgres"
    finally:
        # Closing alone does not wake the thread that waits in accept().
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
