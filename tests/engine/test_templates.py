"""Templates: built once for each state of the migrations, and not kept for ever."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stratakit import database, names, project
from stratakit.database import Connection, runs

from . import clusters


@pytest.fixture
def server(postgres_url: str) -> str:
    """The server that the run is on."""
    return clusters.server_of(postgres_url)


@pytest.fixture
def admin(server: str) -> Iterator[Connection]:
    """A connection to that server."""
    with database.connect(server) as connection:
        yield connection


@pytest.fixture
def made(admin: Connection) -> Iterator[list[str]]:
    """Names of templates to drop after the test."""
    names: list[str] = []
    yield names
    for name in names:
        runs.drop(admin, name)


@pytest.fixture
def changed(tmp_path: Path) -> project.Service:
    """A service whose migrations differ from the project's."""
    service = project.services()[0]
    copy = tmp_path / service.name
    shutil.copytree(service.path, copy)
    revision = next((copy / "migrations" / "versions").glob("*.py"))
    revision.write_text(revision.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    return replace(service, path=copy)


def pretend(admin: Connection, digest: str, used: str) -> str:
    """Make an empty template that was last used on a given day; return its name."""
    name = names.template(digest, admin.info.user)
    runs.create(admin, name)
    admin.execute(f"""COMMENT ON DATABASE "{name}" IS '{{"used": "{used}"}}'""")
    return name


def test_building_a_template_drops_unused_old_templates(
    server: str, admin: Connection, made: list[str], changed: project.Service
) -> None:
    old = [pretend(admin, f"old{number}", "2001-02-03") for number in range(2)]
    new = [pretend(admin, f"new{number}", "2999-12-31") for number in range(runs.KEPT_TEMPLATES)]
    made += old + new

    made.append(runs.template(server, changed))

    assert made[-1] in runs.databases(admin)
    assert not {*old} & {*runs.databases(admin)}
    assert {*new} <= {*runs.databases(admin)}


def test_a_template_is_built_once(
    server: str, admin: Connection, made: list[str], changed: project.Service
) -> None:
    made.append(runs.template(server, changed))
    query = "SELECT oid FROM pg_database WHERE datname = %s"
    first = admin.execute(query, (made[0],)).fetchone()
    assert runs.template(server, changed) == made[0]
    assert admin.execute(query, (made[0],)).fetchone() == first
