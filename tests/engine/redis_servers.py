"""Redis servers for single tests, which stand for somebody else's, and clients on them."""

import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from stratakit import redis_databases
from stratakit.servers import binaries, external
from stratakit.servers.waiting import until

claimed = redis_databases.claim


@contextmanager
def running(folder: Path, *options: str) -> Iterator[str]:
    """Run a server with these options in an empty folder; yield its URL."""
    found = binaries.redis()
    assert found, "no Redis is installed: uv sync"
    names = ("valkey-server", "redis-server")
    program = next(found.folder / name for name in names if (found.folder / name).exists())
    # Not in the test's own folder, whose path is too long for a socket.
    socket = Path(tempfile.gettempdir()) / f"r-{secrets.token_hex(3)}.sock"
    words = [str(program), "--port", "0", "--unixsocket", str(socket), "--save", "", *options]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL) as process:
        address = f"unix://{socket}"
        try:
            until(lambda: external.ping("redis", address), 10)
            yield address
        finally:
            process.kill()
    socket.unlink()


@contextmanager
def application(server: str, number: int, **options: Any) -> Iterator["redis.Redis"]:
    """Yield a connected client of a database that stands for somebody else's."""
    with redis.Redis.from_url(
        redis_databases.url(server, number), decode_responses=True, **options
    ) as client:
        client.ping()
        yield client


def put(server: str, number: int, key: str = "somebody") -> None:
    with application(server, number) as client:
        client.set(key, "else's")


def theirs(server: str, number: int, key: str = "somebody") -> str | None:
    with application(server, number) as client:
        value: str | None = client.get(key)
    return value


def keys(server: str, number: int) -> set[str]:
    with application(server, number) as client:
        return set(client.keys())


def number_of(keyspace: redis_databases.Keyspace) -> int:
    return int(urlsplit(keyspace.url).query.partition("db=")[2].partition("&")[0])


def expect_nothing_left(server: str, *numbers: int) -> None:
    for number in numbers or range(4):
        assert keys(server, number) <= {"somebody"}, number
