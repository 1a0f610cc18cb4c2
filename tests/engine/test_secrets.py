"""The password of a server: in no file that a run writes, and not in its output."""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stratakit import database, servers, settings
from stratakit.database import runs
from stratakit.errors import InfrastructureError
from stratakit.servers import external
from stratakit.servers.waiting import until

from .scratch import PYTEST, Scratch

PASSWORD = "open-sesame"  # noqa: S105 - made up  # pragma: allowlist secret
TESTS = """
import pathlib, signal

def test_shows_its_url(postgres_url):
    assert postgres_url == "not this"

def test_prints_its_url(clone_url):
    print(clone_url)
    assert False

def test_stands(postgres_url):
    assert "open-sesame" in postgres_url
    marker = pathlib.Path(__file__).with_suffix(".marker")
    if marker.with_suffix(".block").exists():
        marker.touch()
        signal.pause()
"""
WAYS = {"alone": (), "with workers": ("-n", "2")}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Scratch]:
    """A project whose servers are given by a URL with a password, and that fails tests."""
    role = f"told_{secrets.token_hex(3)}"
    with servers.lease(settings.load()) as up, database.connect(up["postgres"].url) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{PASSWORD}'")
        address = database.url(up["postgres"].url, "postgres")
        given = address.set(username=role, password=PASSWORD).render_as_string(hide_password=False)
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        environment = {
            "STRATA_SERVERS": "url",
            "TEST_DATABASE_URL": given.replace("+asyncpg", ""),
            "TEST_REDIS_URL": up["redis"].url,
            "TMPDIR": str(temporary),
        }
        with closing(Scratch(tmp_path, **environment)) as scratch:
            (scratch.tests / "test_it.py").write_text(TESTS)
            (scratch.root / "reports").mkdir()
            yield scratch
        for name in runs.databases(admin):
            if name.startswith(f"{scratch.name}_"):
                admin.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
                admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        admin.execute(f"DROP ROLE {role}")


def holding(folder: Path) -> list[Path]:
    """Return the files that contain the password, except the test with it and its bytecode."""
    known = (".py", ".pyc")
    files = (each for each in folder.rglob("*") if each.is_file() and each.suffix not in known)
    return [each for each in files if PASSWORD.encode() in each.read_bytes()]


@pytest.mark.parametrize("way", WAYS)
def test_no_file_contains_the_password_during_a_run_or_after_a_kill(
    way: str, project: Scratch, tmp_path: Path
) -> None:
    block, marker = (project.tests / f"test_it.{name}" for name in ("block", "marker"))
    block.touch()
    run = project.start(PYTEST, *WAYS[way], "-k", "stands", str(project.tests))
    until(marker.stat, 60)
    assert holding(tmp_path) == []
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert holding(tmp_path) == []
    # These are pytest's own, which removes those of earlier runs.
    assert all(each.name.startswith("pytest-of-") for each in (tmp_path / "temporary").iterdir())
    block.unlink()
    assert project.pytest("-k", "stands", str(project.tests)).code == 0


def test_a_failing_test_shows_its_url_without_the_password(
    project: Scratch, tmp_path: Path
) -> None:
    reported = ("--tier", "integration", "--reports", "reports")
    outcome = project.pytest(*WAYS["with workers"], *reported, str(project.tests))
    assert outcome.code == 1, outcome.said
    assert "2 failed, 1 passed" in outcome.out
    assert outcome.out.count(":***@") >= 2
    assert {"junit.xml", "ctrf.json", "results.json"} <= {
        each.name for each in (project.root / "reports").iterdir()
    }
    assert holding(tmp_path) == []


MASKED = {
    f"postgresql://me:{PASSWORD}@localhost/x": "postgresql://me:***@localhost/x",
    f"postgresql+asyncpg://me:{PASSWORD}@h:1/x?a=b": "postgresql+asyncpg://me:***@h:1/x?a=b",
    f"postgres://me:{PASSWORD}/and@more@h/x": "postgres://me:***@h/x",
    f"postgresql://h/x?user=me&password={PASSWORD}&a=b": "postgresql://h/x?user=me&password=***&a=b",
    f"a 'redis://:{PASSWORD}@h', b": "a 'redis://:***@h', b",
    f"mysql://me:{PASSWORD}@h/x": "mysql://me:***@h/x",
    "postgresql://me@h:5432/x": "postgresql://me@h:5432/x",
    "redis://h:6379/1": "redis://h:6379/1",
    "http://127.0.0.1:8000/users?mail=a@b": "http://127.0.0.1:8000/users?mail=a@b",
}


@pytest.mark.parametrize("text", MASKED)
def test_a_password_is_masked_wherever_a_url_contains_one(text: str) -> None:
    assert settings.masked(text) == MASKED[text]


UNREADABLE = (
    ("postgres", f"postgresql://me:{PASSWORD}%zz@localhost/x"),
    ("redis", f"redis://:{PASSWORD}/x@localhost:1"),
)


@pytest.mark.parametrize(("kind", "address"), UNREADABLE)
def test_the_error_for_an_unreadable_url_does_not_contain_the_password(
    kind: servers.Kind, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(external.VARIABLES[kind], address)
    with (
        pytest.raises(InfrastructureError, match="does not answer") as refusal,
        external.lease(kind, settings.load()),
    ):
        pass
    assert PASSWORD not in str(refusal.value)
