"""Migrations by `db.revision`, which pass all checks of `db.verify` or note what is left to do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from stratakit.database import MigrationError
from stratakit.project import Service
from stratakit.schema.autogenerate import Written, write
from stratakit.schema.verify import Check, verify

from . import clusters
from .thirteen import add_by_hand

PYPROJECT = """
[tool.alembic]
script_location = "%(here)s/migrations"
"""
ENVIRONMENT = f"""
from alembic import context

from stratakit.schema.verify import load_metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=load_metadata("{__name__}:CURRENT.metadata"),
)
with context.begin_transaction():
    context.run_migrations()
"""
TEMPLATE = '''"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Apply it."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Undo it."""
    ${downgrades if downgrades else "pass"}
'''


@dataclass
class Models:
    """Stand-in for a module of models that a developer edits."""

    metadata: sa.MetaData


CURRENT = Models(sa.MetaData())

Change = Callable[[sa.MetaData], object]
column = partial(sa.Column, nullable=False)


class Upper(sa.types.TypeDecorator[str]):
    """A type of the service's own."""

    impl = sa.String(7)
    cache_ok = True


def table(metadata: sa.MetaData, name: str, *parts: sa.schema.SchemaItem, **more: str) -> sa.Table:
    return sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), *parts, **more)


def enum(*labels: str, schema: str | None = None) -> pg.ENUM:
    return pg.ENUM(*labels, name="colour", schema=schema)


def nothing(_: sa.MetaData) -> None:
    """Define no models."""


def circle(metadata: sa.MetaData, *, use_alter: bool = False) -> None:
    table(metadata, "a", column("b_id", sa.ForeignKey("b.id", use_alter=use_alter, name="fk_a")))
    table(metadata, "b", column("a_id", sa.ForeignKey("a.id", name="fk_b")))


def children(metadata: sa.MetaData) -> None:
    table(metadata, "a")
    table(
        metadata, "b", column("a_id", sa.ForeignKey("a.id", name="fk_b")), sa.Index("ix_b", "a_id")
    )


def percent(metadata: sa.MetaData) -> None:
    table(
        metadata,
        "items",
        column("name", sa.Text, server_default=sa.text("'100%'")),
        sa.CheckConstraint("name LIKE '%a%%'", "ck_name"),
        sa.Index("ix_name", "name", postgresql_where=sa.text("name NOT LIKE '%b'")),
        comment="5% of it",
    )


def elsewhere(metadata: sa.MetaData) -> None:
    table(metadata, "items", column("colour", enum("a", schema="stock")), schema="stock")


def shared(metadata: sa.MetaData) -> None:
    table(metadata, "a", column("colour", enum("red", "green"), server_default="red"))
    table(metadata, "b", column("colours", pg.ARRAY(enum("red", "green"))))


def extended(metadata: sa.MetaData) -> None:
    table(
        metadata, "a", column("colour", enum("pink", "red", "blue", "green"), server_default="red")
    )
    table(metadata, "b", column("colours", pg.ARRAY(enum("pink", "red", "blue", "green"))))


def domain(metadata: sa.MetaData) -> None:
    code = pg.DOMAIN("code", sa.Text(), check="VALUE LIKE '%x'")
    table(metadata, "items", sa.Column("code", code), sa.Column("codes", pg.ARRAY(code)))


def words(metadata: sa.MetaData) -> None:
    labels = [f"{number}  o'clock, :sharp" for number in range(20)]
    table(metadata, "items", column("at", pg.ENUM(*labels, name="hours", schema="Big Ones")))
    table(metadata, "other", sa.CheckConstraint("id > 0 OR ':a%' = 'a:b'", "ck_id"))


def plain(metadata: sa.MetaData) -> None:
    table(metadata, "items", column("size", sa.Integer), column("name", sa.String(9)))


def coloured(metadata: sa.MetaData, *rules: sa.schema.SchemaItem) -> None:
    table(
        metadata,
        "items",
        column("size", sa.Integer),
        column("name", sa.String(9)),
        column("colour", enum("red"), server_default="red"),
        sa.Column("word", Upper),
        *rules,
    )


def more(metadata: sa.MetaData) -> None:
    coloured(
        metadata,
        sa.CheckConstraint("size > 0 OR name LIKE '%0'", "ck_size"),
        pg.ExcludeConstraint((sa.text("int4range(size, size + 9)"), "&&"), name="ex_size"),
        sa.UniqueConstraint("name", name="uq_name", deferrable=True),
        sa.Index("ix_small", "size", postgresql_where=sa.text("size < 9")),
    )


def other(metadata: sa.MetaData) -> None:
    coloured(
        metadata,
        sa.CheckConstraint("size > 1", "ck_size"),
        pg.ExcludeConstraint((sa.text("int4range(size, size + 5)"), "&&"), name="ex_size"),
        sa.UniqueConstraint("name", name="uq_name"),
        sa.Index("ix_small", "size", postgresql_where=sa.text("size < 5")),
    )


STEPS: dict[str, tuple[Change, Change]] = {
    "percent signs": (nothing, percent),
    "a cycle of foreign keys": (nothing, circle),
    "a cycle of foreign keys with use_alter": (nothing, partial(circle, use_alter=True)),
    "another schema": (nothing, elsewhere),
    "an enum of two tables": (nothing, shared),
    "names that need quotes": (nothing, words),
    "a domain": (nothing, domain),
    "new values of an enum": (shared, extended),
    "additions that Alembic writes and those it does not": (plain, more),
    "changes that Alembic writes and those it does not": (more, other),
}


@pytest.fixture
def server(postgres_url: str) -> str:
    """The server that the run is on."""
    return clusters.server_of(postgres_url)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service without migrations, whose models are the current ones."""
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    (tmp_path / "migrations" / "env.py").write_text(ENVIRONMENT, encoding="utf-8")
    (tmp_path / "migrations" / "script.py.mako").write_text(TEMPLATE, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    where = f"{__name__}:CURRENT.metadata"
    return Service(tmp_path.name, tmp_path, "acme-shop", "shop", ("postgres",), where)


def written(server: str, service: Service, change: Change, *, drop: bool = False) -> Written:
    """Edit the models and ask for a migration."""
    CURRENT.metadata = sa.MetaData()
    change(CURRENT.metadata)
    return write(server, service, "more", drop=drop)


def wrong(server: str, service: Service) -> list[Check]:
    return [each for each in verify(server, service) if each.passed is False]


@pytest.mark.parametrize(("before", "after"), STEPS.values(), ids=STEPS)
def test_generated_migrations_pass_all_checks_and_leave_nothing_to_write(
    before: Change, after: Change, server: str, service: Service
) -> None:
    for change in (before, after):
        found = written(server, service, change)
        assert (found.file is None, list(found.notes)) == (change is nothing, [])
    assert not wrong(server, service)
    again = written(server, service, after, drop=True)
    assert (again.file, list(again.notes)) == (None, [])


def test_a_new_enum_value_is_added_in_an_autocommit_block(server: str, service: Service) -> None:
    written(server, service, shared)
    file = written(server, service, extended).file
    assert file
    text = file.read_text()
    assert text.index("with op.get_context().autocommit_block():") < text.index(
        "'pink' BEFORE 'red'"
    )


def test_columns_indexes_and_constraints_are_dropped_only_with_the_drop_option(
    server: str, service: Service
) -> None:
    written(server, service, more)
    kept = written(server, service, plain)
    assert kept.file is None
    [note] = kept.notes
    for part in ("table column public.items.word", "index public.ix_small", "ex_size", "ck_size"):
        assert part in note
    assert "--drop" in note
    gone = written(server, service, plain, drop=True)
    assert not wrong(server, service), gone
    assert gone.file
    assert "op.drop_column" in gone.file.read_text()


@pytest.mark.parametrize("models", [shared, circle, children])
def test_tables_are_dropped_only_with_the_drop_option(
    models: Change, server: str, service: Service
) -> None:
    written(server, service, models)
    kept = written(server, service, nothing)
    assert kept.file is None
    assert "table public.a, table public.b" in kept.notes[0]
    gone = written(server, service, nothing, drop=True)
    assert (bool(gone.file), list(gone.notes)) == (True, [])
    assert not wrong(server, service)


def partitioned(metadata: sa.MetaData) -> None:
    table(metadata, "events", postgresql_partition_by="RANGE (id)")


@pytest.mark.parametrize("drop", [False, True])
def test_a_partition_created_by_a_migration_needs_no_model(
    drop: bool, server: str, service: Service
) -> None:
    file = written(server, service, partitioned).file
    assert file
    made = "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (10)"
    add_by_hand(file, {made: "DROP TABLE events_1"})
    again = written(server, service, partitioned, drop=drop)
    assert (again.file, list(again.notes)) == (None, [])
    assert not wrong(server, service)


def with_view(metadata: sa.MetaData) -> None:
    plain(metadata)
    sa.event.listen(metadata, "after_create", sa.DDL("CREATE VIEW names AS SELECT name FROM items"))


def test_a_view_that_cannot_be_generated_is_noted_in_the_migration_and_the_result(
    server: str, service: Service
) -> None:
    found = written(server, service, with_view)
    assert found.file
    said = "missing view public.names"
    [note] = found.notes
    assert said in note
    assert f"    # - {said}" in found.file.read_text()
    add_by_hand(found.file, {"CREATE VIEW names AS SELECT name FROM items": "DROP VIEW names"})
    assert not wrong(server, service)


def test_a_migration_is_written_even_if_all_of_it_must_be_added_by_hand(
    server: str, service: Service
) -> None:
    written(server, service, plain)
    found = written(server, service, with_view)
    assert found.file
    assert "missing view public.names" in found.file.read_text()


def fewer(metadata: sa.MetaData) -> None:
    table(metadata, "a", column("colour", enum("green"), server_default="green"))
    table(metadata, "b", column("colours", pg.ARRAY(enum("green"))))


def test_a_removed_enum_value_is_noted_in_the_migration(server: str, service: Service) -> None:
    written(server, service, shared)
    found = written(server, service, fewer)
    assert found.file
    assert "# - changed type public.colour" in found.file.read_text()


def test_models_that_postgresql_rejects_raise_a_migration_error(
    server: str, service: Service
) -> None:
    CURRENT.metadata = sa.MetaData()
    table(CURRENT.metadata, "items", sa.CheckConstraint("nothing > 0", "ck_nothing"))
    with pytest.raises(MigrationError, match="does not go up as it is written: UndefinedColumn"):
        write(server, service, "more")
