"""`invoke service.download`, from a server that may send wrong or incomplete files."""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .scratch import INVOKE, Scratch

FILE = b"weights" * 500_000
WHOLE = {"Content-Length": str(len(FILE))}
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "whole": (200, WHOLE, FILE),
    "unsized": (200, {}, FILE),
    "moved": (302, {"Location": "/whole"}, b""),
    "cut": (200, WHOLE, FILE[:-1000]),
    "lie": (200, WHOLE, b"x" * len(FILE)),
    "missing": (404, {}, b""),
}
DOWNLOAD = """
[tool.stratakit.service.downloads.{name}]
url = "http://127.0.0.1:{port}/{name}"
sha256 = "{sha256}"
path = "models/{name}"
"""
asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Handler that sends the response that the path names."""

    def do_GET(self) -> None:
        """Answer."""
        name = self.path.strip("/")
        asked.append(name)
        status, headers, content = ANSWERS[name]
        self.send_response(status)
        for each in headers.items():
            self.send_header(*each)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def project(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    scratch = Scratch(tmp_path_factory.mktemp("downloads"), no_proxy="*")
    sha256 = hashlib.sha256(FILE).hexdigest()
    ports = dict.fromkeys(ANSWERS, port) | {"down": 1}
    wanted = [DOWNLOAD.format(name=name, port=ports[name], sha256=sha256) for name in ports]
    settings = scratch.root / "services" / scratch.service.name / "pyproject.toml"
    settings.write_text(settings.read_text() + "".join(wanted))
    yield scratch
    scratch.close()


@pytest.fixture
def models(project: Scratch) -> Path:
    folder = project.root / "services" / project.service.name / "models"
    for left in folder.glob("*"):
        left.unlink()
    asked.clear()
    return folder


def test_a_file_is_downloaded_only_once(project: Scratch, models: Path) -> None:
    project.green("service.download", "whole")
    assert (models / "whole").read_bytes() == FILE
    assert "already downloaded" in project.green("service.download", "whole").out
    assert asked == ["whole"]


@pytest.mark.parametrize("name", ["moved", "unsized"])
def test_a_redirect_and_a_missing_content_length_are_accepted(
    project: Scratch, models: Path, name: str
) -> None:
    project.green("service.download", name, "--service", project.service.name)
    assert (models / name).read_bytes() == FILE


def test_an_existing_file_with_a_wrong_checksum_is_replaced(project: Scratch, models: Path) -> None:
    models.mkdir(exist_ok=True)
    (models / "whole").write_bytes(FILE[:-1])
    project.green("service.download", "whole")
    assert (models / "whole").read_bytes() == FILE


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("lie", 1, "is not the file"),
        ("cut", 2, "the connection broke after"),
        ("missing", 2, "404"),
        ("down", 2, "refused"),
        ("unknown", 3, "there is no download 'unknown'; there are: "),
    ],
)
def test_a_failed_download_keeps_the_existing_file(
    project: Scratch, models: Path, name: str, code: int, says: str
) -> None:
    models.mkdir(exist_ok=True)
    (models / name).write_bytes(b"older")
    outcome = project.invoke("service.download", name)
    assert outcome.code == code, outcome.said
    assert says in outcome.said
    assert "Traceback" not in outcome.said
    assert [each.name for each in models.iterdir()] == [name]
    assert (models / name).read_bytes() == b"older"


def test_concurrent_downloads_of_a_file_all_succeed(project: Scratch, models: Path) -> None:
    both = [project.start(INVOKE, "service.download", "whole") for _ in range(3)]
    assert [each.wait().code for each in both] == [0] * 3
    assert [each.name for each in models.iterdir()] == ["whole"]
    assert (models / "whole").read_bytes() == FILE


def test_an_old_partial_file_is_removed_and_a_recent_one_is_kept(
    project: Scratch, models: Path
) -> None:
    models.mkdir(exist_ok=True)
    for name in ("whole.dead.part", "whole.alive.part"):
        (models / name).write_bytes(FILE[:1000])
    long_ago = time.time() - 3600
    os.utime(models / "whole.dead.part", (long_ago, long_ago))
    project.green("service.download", "whole")
    assert sorted(each.name for each in models.iterdir()) == ["whole", "whole.alive.part"]
