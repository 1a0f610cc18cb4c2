"""Corrections to the operations that Alembic autogenerates.

By itself, it creates an enum again for each table and never drops one, creates no schemas, omits
foreign keys with `use_alter`, doubles each `%`, and drops whatever no model has, even partitions.
"""

import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import postgresql as pg

from ..factories.checks import DIALECT
from . import named_types
from .fingerprint import Difference, Facts

WIDTH = 80
"""Maximum width of SQL in a line, which leaves room for the quotes around it."""
_PARAMETER = re.compile(r"(?<![:\w]):(?=\w)")
_OF_PARTITIONS = """
    SELECT relname FROM pg_class WHERE relispartition AND relnamespace = to_regnamespace(:schema)
    UNION ALL
    -- Foreign keys to single partitions, which PostgreSQL derives from the key to their table.
    SELECT conname FROM pg_constraint
    WHERE conparentid <> 0 AND connamespace = to_regnamespace(:schema)
"""


@dataclass
class Statement(ops.MigrateOperation):
    """Statements of a migration, and those that revert them."""

    up: tuple[str, ...]
    down: tuple[str, ...]
    committed: bool = False
    """Whether those of `up` are committed at once, so that later ones can use them."""

    def reverse(self) -> "Statement":
        """Return the operation that reverts it."""
        return Statement(self.down, self.up)


@renderers.dispatch_for(Statement)
def _render(_: AutogenContext, operation: Statement) -> list[str]:
    calls = [f"op.execute({_literal(each)})" for each in operation.up]
    if not operation.committed:
        return calls
    return ["\n    ".join(("with op.get_context().autocommit_block():", *calls))]


def _literal(statement: str) -> str:
    """Return a statement as a Python literal, on as many lines as it needs."""
    parts = textwrap.wrap(
        # Alembic would turn `:name` into a parameter.
        _PARAMETER.sub(r"\\:", statement),
        WIDTH,
        drop_whitespace=False,
        replace_whitespace=False,
        expand_tabs=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(map(repr, parts))


@dataclass
class Directives:
    """Callback that fills a migration with what the models have and the database lacks."""

    wanted: Facts
    """Schema that the models produce, if it is known."""
    drop: bool
    """Whether to drop what no model has."""
    first: Sequence[Statement] = ()
    """Drops of constraints and indexes: a downgrade might not restore what Alembic's own drop."""
    last: Sequence[Statement] = ()
    """Statements that Alembic does not find."""
    left: list[str] = field(default_factory=list)
    """Objects that no model has and that were not dropped."""

    def __call__(
        self, context: MigrationContext, _: object, directives: list[ops.MigrationScript]
    ) -> None:
        """Replace what Alembic has found with its own settings; see its `revision`."""
        [script] = directives
        script.upgrade_ops = upgrade = self.compare(context)
        script.downgrade_ops = upgrade.reverse()
        # This dialect's driver does not double each `%`.
        context.impl.dialect = DIALECT
        if upgrade.is_empty():
            directives.clear()

    def compare(self, context: MigrationContext) -> ops.UpgradeOps:
        """Return the operations that make a context's database match the models."""
        metadata: sa.MetaData = context.opts["target_metadata"]
        connection = context.connection
        assert connection is not None  # noqa: S101 - only offline mode has none
        names = {None, *named_types.schemas(metadata)}
        context.opts |= {
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name in names,
            "include_object": self._includes(context, context.opts.get("include_object")),
            "compare_type": True,
            "compare_server_default": True,
            "render_item": _rendering(context.opts.get("render_item")),
        }
        with circles():
            found = produce_migrations(context, metadata).upgrade_ops
        assert found is not None  # noqa: S101 - it has just been made
        loosened, hoisted = _loosened(found), _hoisted(found)
        first = (*_schemas(connection, metadata), *_types(connection, metadata), *self.first)
        return ops.UpgradeOps([*first, *loosened, *found.ops, *hoisted, *self.last])

    def _includes(
        self, context: MigrationContext, before: Callable[..., bool] | None
    ) -> Callable[..., bool]:
        """Return a filter that excludes from the comparison what exists and is in no model."""

        def include(thing: Any, name: str, kind: str, reflected: bool, other: Any) -> bool:  # noqa: FBT001 - Alembic's
            if before and not before(thing, name, kind, reflected, other):
                return False
            return not reflected or other is not None or self._drops(context, thing, name, kind)

        return include

    def _drops(self, context: MigrationContext, thing: Any, name: str, kind: str) -> bool:
        """Return whether Alembic drops an object that no model has; note it if nothing drops it."""
        assert context.connection is not None  # noqa: S101 - as in `compare`
        table = thing if kind == "table" else thing.table
        schema = table.schema or context.connection.dialect.default_schema_name
        made = f"table {schema}.{table.name}" in self.wanted
        parts = context.connection.scalars(sa.text(_OF_PARTITIONS), {"schema": schema})
        # The metadata creates it with a statement of its own, or `first` drops it.
        if kind != "column" and (made or name in set(parts)):
            return False
        if not self.drop:
            self.left.append(f"{kind.replace('_', ' ')} {name} of {schema}.{table.name}")
        return self.drop


def statements(differences: Iterable[Difference], *, drop: bool) -> Iterator[Statement]:
    """Yield statements that remove the differences whose definitions PostgreSQL prints.

    Args:
        differences: the differences between the schemas of the models and of the migrations.
        drop: whether to drop what no model has.
    """
    for each in differences:
        gone = each.change == "unexpected"
        enum = gone and each.found.startswith("ENUM ")
        if each.kind not in _MADE or (gone and not drop) or (each.kind == "type" and not enum):
            continue
        name, _, table = each.name.partition(" on ")
        make, remove = (text.format(name=name, table=table) for text in _MADE[each.kind])
        old, new = (
            (remove, f"{make}{text}") if text else () for text in (each.found, each.expected)
        )
        yield Statement((*old[:1], *new[1:]), (*new[:1], *old[1:]))


PARTS = {
    "table constraint": (
        "ALTER TABLE {table} ADD CONSTRAINT {name} ",
        "ALTER TABLE {table} DROP CONSTRAINT {name}",
    ),
    "index": ("", "DROP INDEX {name}"),
}
"""Statements for a part of a table: the start of one that creates it, and one that drops it."""
_MADE = {**PARTS, "type": ("CREATE TYPE {name} AS ", "DROP TYPE {name}")}


@contextmanager
def circles() -> Iterator[None]:
    """Let tables refer to each other in a cycle, without a warning that they cannot be sorted."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Cannot correctly sort tables", sa.exc.SAWarning)
        yield


def _rendering(before: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return a renderer for types: as PostgreSQL has them, and not created along with a table."""

    def render(kind: str, thing: Any, context: AutogenContext) -> str | bool:
        if before and (rendered := before(kind, thing, context)):
            return str(rendered)
        if kind != "type":
            return False
        if isinstance(thing, sa.Enum) and thing.native_enum:
            context.imports.add("from sqlalchemy.dialects import postgresql")
            words = [*map(repr, thing.enums), f"name={thing.name!r}"]
            words += [f"schema={thing.schema!r}"] if thing.schema else []
            return f"postgresql.ENUM({', '.join(words)}, create_type=False)"
        if isinstance(thing, pg.DOMAIN):
            context.imports.add("from sqlalchemy.dialects import postgresql")
            words = [repr(thing.name), _repr_type(thing.data_type, context)]
            words += [f"schema={thing.schema!r}"] if thing.schema else []
            return f"postgresql.DOMAIN({', '.join(words)}, create_type=False)"
        if isinstance(thing, sa.types.TypeDecorator) and not _of_sqlalchemy(thing):
            # The class belongs to the service and may change; an applied migration may not.
            return _repr_type(thing.load_dialect_impl(DIALECT), context)
        return False

    return render


def _of_sqlalchemy(thing: object) -> bool:
    return type(thing).__module__.startswith("sqlalchemy.")


def _schemas(connection: sa.Connection, metadata: sa.MetaData) -> Iterator[Statement]:
    quote = DIALECT.identifier_preparer.quote_schema
    there = set(sa.inspect(connection).get_schema_names())
    for name in named_types.schemas(metadata):
        if name not in there:
            yield Statement((f"CREATE SCHEMA {quote(name)}",), (f"DROP SCHEMA {quote(name)}",))


def _types(connection: sa.Connection, metadata: sa.MetaData) -> Iterator[Statement]:
    """Yield statements that create the models' types, and add new values to their enums."""
    for type_ in named_types.of(metadata):
        name = named_types.quoted(type_)
        if connection.scalar(sa.text("SELECT to_regtype(:name)"), {"name": name}) is None:
            kind = "TYPE" if isinstance(type_, pg.ENUM) else "DOMAIN"
            yield Statement((named_types.create(type_),), (f"DROP {kind} {name}",))
        elif isinstance(type_, pg.ENUM):
            yield from _values(connection, type_, name)


def _values(connection: sa.Connection, type_: pg.ENUM, name: str) -> Iterator[Statement]:
    """Yield a statement that adds the new values of an enum; other changes have none."""
    before, after = named_types.labels(connection, name), list(type_.enums)
    if after == before or [each for each in after if each in before] != before:
        return
    up = []
    for number, label in enumerate(after):
        if label not in before:
            place = (
                f"AFTER {_quoted(after[number - 1])}" if number else f"BEFORE {_quoted(before[0])}"
            )
            up.append(f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {_quoted(label)} {place}")
    # Enum values cannot be dropped, so the type is recreated; no row may have a new value then.
    labels = ", ".join(map(_quoted, before))
    old = pg.ENUM(name=f"{type_.name}_before", schema=type_.schema)
    renamed = DIALECT.identifier_preparer.quote(str(old.name))
    down = [f"ALTER TYPE {name} RENAME TO {renamed}", f"CREATE TYPE {name} AS ENUM ({labels})"]
    for use in named_types.uses(connection, name):
        alter = f"ALTER TABLE {use.table} ALTER {use.column}"
        many = "[]" if use.array else ""
        if use.default:
            down.append(f"{alter} DROP DEFAULT")
        down.append(f"{alter} TYPE {name}{many} USING {use.column}::text{many}::{name}{many}")
        if use.default:
            down.append(f"{alter} SET DEFAULT {use.default}")
    down.append(f"DROP TYPE {named_types.quoted(old)}")
    yield Statement(tuple(up), tuple(down), committed=True)


def _quoted(label: str) -> str:
    return "'" + label.replace("'", "''") + "'"


def _hoisted(upgrade: ops.UpgradeOps) -> list[ops.CreateForeignKeyOp]:
    """Remove from new tables the foreign keys that refer to later ones; return them."""
    created = [each for each in upgrade.ops if isinstance(each, ops.CreateTableOp)]
    later = {_full_name(each) for each in created}
    found = []
    for operation in created:
        later.discard(_full_name(operation))
        found += [
            ops.CreateForeignKeyOp.from_constraint(key)
            for key in _taken(operation, lambda key: key.use_alter or _referred(key) in later)
        ]
    return found


def _loosened(upgrade: ops.UpgradeOps) -> list[ops.DropConstraintOp]:
    """Remove from dropped tables the foreign keys that refer to earlier ones; return them."""
    gone: set[str] = set()
    found: list[ops.DropConstraintOp] = []
    for operation in upgrade.ops:
        if not isinstance(operation, ops.DropTableOp):
            continue
        # The table that a downgrade creates; Alembic has no public access to it.
        created = operation._reverse  # noqa: SLF001
        keys = _taken(created, lambda key: _referred(key) in gone) if created else []
        found += map(ops.DropConstraintOp.from_constraint, keys)
        gone.add(_full_name(operation))
    return found


def _taken(
    operation: ops.CreateTableOp, which: Callable[[sa.ForeignKeyConstraint], bool]
) -> list[sa.ForeignKeyConstraint]:
    """Remove foreign keys from the creation of a table; return them."""
    kept, taken = [], []
    for each in operation.columns:
        if isinstance(each, sa.ForeignKeyConstraint) and which(each):
            taken.append(each)
        else:
            kept.append(each)
    operation.columns = kept
    return taken


def _referred(key: sa.ForeignKeyConstraint) -> str:
    return key.elements[0].target_fullname.rpartition(".")[0]


def _full_name(operation: ops.CreateTableOp | ops.DropTableOp) -> str:
    return ".".join(filter(None, (operation.schema, operation.table_name)))
