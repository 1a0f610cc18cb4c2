"""A schema of thirteen tables in ten revisions, and the writes of every test.

One table has rows seeded by a migration; tests write to the other twelve.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

METADATA = sa.MetaData()
SEEDED = "country"
SEED = "INSERT INTO country (label) VALUES ('at'), ('be'), ('ch'), ('de'), ('fr')"

WORK: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("customer", (), 2),
    ("address", ("customer", "country"), 2),
    ("category", (), 2),
    ("product", ("category",), 3),
    ("price", ("product", "country"), 3),
    ("warehouse", ("address",), 1),
    ("stock", ("product", "warehouse"), 3),
    ("basket", ("customer",), 2),
    ("basket_item", ("basket", "product"), 3),
    ("purchase", ("customer", "address"), 2),
    ("purchase_item", ("purchase", "product"), 2),
    ("payment", ("purchase",), 1),
)
"""Tables, with the tables that each refers to and the number of rows that a test adds to it."""

REVISIONS = (
    (SEEDED,),
    ("customer",),
    ("address",),
    ("category", "product"),
    ("price",),
    ("warehouse", "stock"),
    ("basket", "basket_item"),
    ("purchase", "purchase_item"),
    ("payment",),
    (),
)
"""The tables that each revision creates; the last one creates the indexes."""

_REVISION = """\
from alembic import op

revision = "{number:04}"
down_revision = {before}


def upgrade() -> None:
    for statement in {statements!r}:
        op.execute(statement)
"""


def _table(name: str, parents: tuple[str, ...]) -> None:
    sa.Table(
        name,
        METADATA,
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        *(
            sa.Column(f"{each}_id", sa.ForeignKey(f"{each}.id"), nullable=False, index=True)
            for each in parents
        ),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
        sa.CheckConstraint("label <> ''", name=f"ck_{name}_label"),
    )


_table(SEEDED, ())
for _name, _parents, _ in WORK:
    _table(_name, _parents)

_INSERTS = {
    name: f"INSERT INTO {name} ({', '.join((*(f'{each}_id' for each in parents), 'label'))})"  # noqa: S608 - names are ours
    f" VALUES ({', '.join(['%s'] * (len(parents) + 1))}) RETURNING id"
    for name, parents, _ in WORK
}


def write(connection: psycopg.Connection) -> None:
    """Add 26 rows to twelve tables, one by one, and commit."""
    ids = {SEEDED: 1}
    with connection.transaction():
        for table, parents, count in WORK:
            for number in range(count):
                values = (*(ids[each] for each in parents), f"{table} {number}")
                (ids[table],) = connection.execute(_INSERTS[table], values).fetchone()


def untouched(connection: psycopg.Connection) -> bool:
    """Return whether there are only the seeded rows."""
    rows = " + ".join(f"(SELECT count(*) FROM {name})" for name in METADATA.tables)  # noqa: S608 - as above
    # In a closed transaction: in an open one, the test's own would be a savepoint.
    with connection.transaction():
        return connection.execute(f"SELECT {rows}").fetchone() == (5,)


def write_revisions(folder: Path) -> None:
    """Write the ten revisions as files for Alembic."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, tables in enumerate(REVISIONS, 1):
        text = _REVISION.format(
            number=number,
            before=f'"{number - 1:04}"' if number > 1 else None,
            statements=list(_statements(tables)),
        )
        (folder / f"{number:04}.py").write_text(text, encoding="utf-8")


def _statements(tables: tuple[str, ...]) -> Iterator[str]:
    dialect = postgresql.dialect()
    for name in tables:
        yield str(CreateTable(METADATA.tables[name]).compile(dialect=dialect))
    if SEEDED in tables:
        yield SEED
    if not tables:
        for table in METADATA.sorted_tables:
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                yield str(CreateIndex(index).compile(dialect=dialect))
