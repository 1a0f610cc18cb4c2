"""Concurrent deployments: `alembic upgrade head` as a release runs it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from servicebase import migrations

from stratakit.servers.waiting import until

ENV = """
from servicebase import migrations
from sqlalchemy import MetaData

migrations.run(MetaData(), "SHOP_")
"""
FIRST = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "1", None


def upgrade():
    op.create_table("migrated", sa.Column("id", sa.Integer))
"""
SECOND = """
from alembic import op

revision, down_revision = "2", "1"


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index("ix_migrated_id", "migrated", ["id"], postgresql_concurrently=True)


def downgrade():
    op.drop_index("ix_migrated_id")
"""
PYPROJECT = """
[tool.alembic]
script_location = "%(here)s"
"""
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
PAUSING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep'
"""
HELD_LOCKS = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND datname = current_database()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A service that consists of its migrations alone."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (tmp_path / "env.py").write_text(ENV, encoding="utf-8")
    (tmp_path / "versions" / "1.py").write_text(FIRST, encoding="utf-8")
    (tmp_path / "versions" / "2.py").write_text(SECOND, encoding="utf-8")
    return tmp_path


@pytest.fixture
def connection(clone_url: str) -> Iterator[psycopg.Connection]:
    """A connection to the database to migrate."""
    address = clone_url.replace("postgresql+asyncpg", "postgresql")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP TABLE alembic_version")
        yield connection


@pytest.fixture
def writer(connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Another connection to it, in a transaction."""
    with psycopg.connect(connection.info.dsn, password=connection.info.password) as writer:
        yield writer


def upgrade(folder: Path, url: str, revision: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        (sys.executable, "-m", "alembic", "upgrade", revision),
        cwd=folder,
        env={**os.environ, "SHOP_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_three_concurrent_upgrades_build_an_index_once_and_block_no_writes(
    folder: Path, clone_url: str, connection: psycopg.Connection, writer: psycopg.Connection
) -> None:
    first, _ = upgrade(folder, clone_url, "1").communicate(timeout=60)
    assert "Running upgrade  -> 1" in first
    writer.execute("INSERT INTO migrated VALUES (1)")
    # Hold the lock until all three wait for it.
    connection.execute("SELECT pg_advisory_lock(%s)", (migrations.LOCK,))
    three = [upgrade(folder, clone_url, "head") for _ in range(3)]

    def all_pause() -> None:
        assert connection.execute(PAUSING).fetchone() == (3,)

    until(all_pause, 60)
    connection.execute("SELECT pg_advisory_unlock(%s)", (migrations.LOCK,))

    def index_waits_for_the_writer() -> None:
        assert connection.execute(WAITING).fetchone() == (1,)

    until(index_waits_for_the_writer, 60)
    connection.execute("SET lock_timeout = '5s'; INSERT INTO migrated VALUES (2)")
    writer.commit()
    said = [each.communicate(timeout=60)[0] for each in three]
    assert [each.returncode for each in three] == [0, 0, 0], said
    assert "".join(said).count("Running upgrade 1 -> 2") == 1
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_migrated_id'::regclass"
    assert connection.execute(valid).fetchone() == (True,)
    assert connection.execute(HELD_LOCKS).fetchone() == (0,)
