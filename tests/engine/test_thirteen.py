"""A realistic schema: writing, checking, cleaning and copying it agree on what it contains."""

import asyncio
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import NullPool, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from stratakit import database, pyproject, servers, settings
from stratakit.database import lifecycle
from stratakit.database.migrations import engine_over
from stratakit.project import Service, services
from stratakit.schema import pending
from stratakit.schema.autogenerate import write
from stratakit.schema.verify import table, verify
from stratakit.schema_tests import catalog
from stratakit.schema_tests.migrations import PROOFS, Migrated
from stratakit.servers import Server
from stratakit.testing import Build, schema

from . import shop, thirteen

MODELS = f"{thirteen.__name__}:Base.metadata"
PYPROJECT = """
[tool.alembic]
script_location = "%(here)s/migrations"
"""
ENVIRONMENT = f"""
from servicebase import migrations

from stratakit.schema.verify import load_metadata

migrations.run(load_metadata("{MODELS}"), "SHOP_")
"""
ROWS = """
    BEGIN;
    INSERT INTO countries VALUES ('XX', 'Nowhere'), ('NZ', 'New Zealand');
    INSERT INTO teams (id, name, lead_id) SELECT id, ' all ', id FROM (SELECT gen_random_uuid() id);
    INSERT INTO accounts (id, team_id, email, days)
      SELECT lead_id, id, 'a@b.nz', '{MONDAY}' FROM teams;
    INSERT INTO products (sku, price, discount) VALUES ('pen', 2, 1);
    INSERT INTO categories VALUES (2, 1, 'below'), (1, NULL, 'above');
    INSERT INTO product_categories SELECT id, 2 FROM products;
    INSERT INTO orders (account_id, number, kind, company)
      SELECT id, 1, 'business', 'ACME' FROM accounts;
    INSERT INTO lines (account_id, order_number, position, product_id)
      SELECT account_id, number, 1, products.id FROM orders, products;
    INSERT INTO invoices SELECT 'A-1', account_id, number, 9 FROM orders;
    INSERT INTO rooms VALUES (1, 'NZ');
    INSERT INTO bookings (room_id, during) VALUES (1, '[2026-01-01, 2026-01-02)');
    INSERT INTO events (at, account_id, data) SELECT '2026-06-01', id, '{}' FROM accounts;
    INSERT INTO events (at, data) VALUES ('2031-01-01', '{}');
    INSERT INTO audit.entries SELECT 1, id, at, 'CREATED' FROM events LIMIT 1;
    COMMIT;
"""
COUNT = " UNION ALL ".join(
    f"SELECT '{name}', count(*) FROM {name}"  # noqa: S608 - names of our own tables
    for name in sorted(thirteen.TABLES)
)


@contextmanager
def role(server: str, who: str) -> Iterator[str]:
    """Yield the server's URL for a superuser, or for a role that may only create databases."""
    if who == "a superuser":
        yield server
        return
    name = f"plain_{secrets.token_hex(3)}"
    with database.connect(server) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{name}'")
        yield psycopg.conninfo.make_conninfo(server, user=name, password=name)
        owned = "SELECT datname FROM pg_database WHERE datdba = %s::regrole"
        for (owns,) in admin.execute(owned, (name,)).fetchall():
            admin.execute(f'ALTER DATABASE "{owns}" IS_TEMPLATE false')
            admin.execute(f'DROP DATABASE "{owns}" WITH (FORCE)')
        admin.execute(f"DROP ROLE {name}")


@pytest.fixture(params=["a superuser", "a plain role"])
def up(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server, and a project with a unique name."""
    with (
        servers.lease(settings.load(), ("postgres",)) as leased,
        pytest.MonkeyPatch.context() as patch,
        role(leased["postgres"].url, request.param) as url,
    ):
        patch.setitem(pyproject.table(), "project", f"t{secrets.token_hex(3)}")
        yield replace(leased["postgres"], url=url)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service without migrations, with the models of the thirteen tables."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENVIRONMENT, encoding="utf-8")
    template = services()[0].path / "migrations" / "script.py.mako"
    (folder / template.name).write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    return Service("shop", tmp_path, "acme-shop", "shop", ("postgres",), MODELS)


def counts(url: str, name: str) -> dict[str, int]:
    with database.connect(url, name) as connection:
        return dict(connection.execute(COUNT).fetchall())


def unmet(up: Server, service: Service, name: str) -> list[str]:
    """Return the checks that fail, as they are printed."""
    return [table([each]) for each in verify(up.url, service, name) if not each.passed]


def derive(url: str) -> None:
    """Prove each derived case, and build a row of each table, on a migrated database."""
    metadata = thirteen.Base.metadata
    with shop.engine(url).connect() as connection:
        found = catalog.read(connection, metadata)
        connection.rollback()
        for case in schema.cases(metadata):
            schema.prove(connection, case, found)
            connection.rollback()

    async def build_all() -> None:
        engine = create_async_engine(url, poolclass=NullPool)
        build = Build(engine, "derive")
        for mapper in thirteen.Base.registry.mappers:
            assert inspect(await build(mapper.class_)).has_identity
        await engine.dispose()

    asyncio.run(build_all())


def test_migrations_checks_builders_and_copies_agree_on_a_realistic_schema(
    up: Server, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = write(up.url, service, "all of it")
    assert found.file
    [said] = found.notes
    kinds = [line.split()[:2] for line in said.splitlines() if line.startswith("missing ")]
    assert kinds == [
        ["missing", each] for each in ("function", "table", "table", "trigger", "view")
    ]
    # The file is outside the project, whose settings for migrations do not apply to it.
    for action in (("format", "--check"), ("check", "--ignore", "INP001")):
        ruff = ("ruff", *action, "--no-cache", "--config", pyproject.ROOT / "pyproject.toml")
        subprocess.run([*ruff, found.file], check=True)
    thirteen.add_by_hand(found.file, thirteen.BY_HAND)
    again = write(up.url, service, "nothing", drop=True)
    assert (again.file, list(again.notes)) == (None, [])

    it = lifecycle.Database(up, service)
    with ExitStack() as stack:
        it.setup()
        stack.callback(it.drop, force=True)
        assert not unmet(up, service, it.name)
        monkeypatch.setenv("SHOP_DATABASE_URL", it.url)
        engine = create_async_engine(it.url, poolclass=NullPool)
        for proof in PROOFS:
            asyncio.run(proof(Migrated(service, engine)))
        with engine_over(database.connect(up.url, it.name)).connect() as own:
            assert pending.populate(own) == []
            pending.empty(own)
        derive(it.url)
        it.clean(force=True)
        with database.connect(up.url, it.name) as own:
            own.execute(ROWS)
        filled = counts(up.url, it.name)
        assert all(filled.values()), filled
        it.snapshot("full")
        it.clean(force=True)
        assert not any(counts(up.url, it.name).values())
        it.restore("full", force=True)
        assert counts(up.url, it.name) == filled
        it.reset(force=True)
        assert not any(counts(up.url, it.name).values())
        assert not unmet(up, service, it.name)
        assert it.rollback(force=True)
