"""A Redis server for a single test, which might as well be somebody else's."""

import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.servers import binaries, url
from ops.servers.waiting import until

@contextmanager
def running(folder: Path, *options: str) -> Iterator[str]:
    """Run a server with these options in an empty folder; yield its URL."""
    found = binaries.redis()
    assert found, "no Redis is installed: uv sync"
    names = ("valkey-server", "redis-server")
    program = next(found.folder / name for name in names if (found.folder / name).exists())
    # Not in the test's own folder: the path of a socket may not be that long.
    socket = Path(tempfile.gettempdir()) / f"r-{secrets.token_hex(3)}.sock"
    words = [str(program), "--port", "0", "--unixsocket", str(socket), "--save", "", *options]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL) as process:
        address = f"unix://{socket}"
        try:
            until(lambda: url.ping("redis", address), 10)
            yield address
        finally:
            process.kill()
    socket.unlink()
