"""Model instances generated from the models' metadata: a new model needs no factory.

    async def test_an_invoice_can_be_paid(build: Build) -> None:
        invoice = await build(Invoice, total=3)

Built instances are valid: their parent rows exist, unique columns have unique values, and CHECK
constraints hold. Any value can be passed explicitly instead.
"""

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc, orm
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import attributes

from .constraints import BuildError, explain, may_share
from .given import per_row, refuse_generated, refuse_unknown
from .rows import Row, Rows

M = TypeVar("M")


def example(model: type[M], number: int = 1, /, **given: object) -> M:
    """Return an instance with all non-nullable fields set, made without a database.

    Server defaults are filled in too, but generated columns are not: the instance is for reading,
    not for storing. The same arguments give equal instances.

    Args:
        model: a mapped class.
        number: number of the instance; each has its own unique values.
        given: values of fields, including relationships, that are not to be generated.

    Raises:
        BuildError: a field does not exist, or no value can be generated for one.
    """
    refuse_unknown(_mapper(model), given)
    rows = Rows("example", defaultdict(lambda: number - 1))
    return _Maker(rows, None).make(model, given)


class Build:
    """Builder that commits instances to one database. Tests get it as the fixture `build`."""

    def __init__(
        self,
        bind: AsyncEngine | AsyncConnection,
        seed: str,
        built: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the database, the seed of all values, and a callback to run after each build.

        Rows built over a connection in a transaction are committed with that transaction.
        """
        self._bind, self._built = bind, built
        self._seed = seed
        self._numbers: defaultdict[sa.Table, int] = defaultdict(int)

    async def __call__(self, model: type[M], /, **given: object) -> M:
        """Build one instance, and the rows it depends on.

        Args:
            model: a mapped class.
            given: values of fields, including relationships, that are not to be generated.

        Raises:
            BuildError: a field does not exist, or no value can be generated for one.
            IntegrityError: the server rejects a given value.
        """
        [built] = await self.many(model, 1, **given)
        return built

    async def many(self, model: type[M], count: int, /, **given: object) -> list[M]:
        """Build several instances in one transaction; given values are shared or per row.

            await build.many(Line, 3, order=order, position=[1, 2, 3], amount=lambda n: n * 10)

        Args:
            model: a mapped class.
            count: number of instances.
            given: as for one instance. A function is called with the row number, from 1, and an
                iterator is advanced; a list or another sequence has one value per row, unless the
                field itself holds sequences.

        Raises:
            BuildError: as for one instance; or the number of values differs from that of rows.
            IntegrityError: as for one instance.
        """
        mapper = _mapper(model)
        refuse_unknown(mapper, given)
        refuse_generated(mapper, given)
        rows = per_row(mapper, count, given)

        def make(session: orm.Session) -> list[M]:
            numbered = Rows(self._seed, self._numbers)
            return [_Maker(numbered, session).make(model, each) for each in rows]

        async with (
            AsyncSession(
                self._bind, expire_on_commit=False, join_transaction_mode="create_savepoint"
            ) as session,
            session.begin(),
        ):
            made = await session.run_sync(make)
        self._built()
        return made


class _Maker:
    """Maker of an instance and its parents, which are stored if there is a session.

    Instances share a parent as long as no constraint forbids it.
    """

    def __init__(self, rows: Rows, session: orm.Session | None) -> None:
        self._rows = rows
        self._session = session
        self._related: dict[sa.FromClause, object] = {}
        """Instance of each table that was given, or made so far."""

    def make(self, model: type[M], given: dict[str, object]) -> M:
        mapper = _mapper(model)
        # Not by calling the class: its __init__ may require arguments.
        instance: M = mapper.class_manager.new_instance()
        if isinstance(mapper.polymorphic_on, sa.Column) and mapper.polymorphic_identity is not None:
            given = {_key(mapper, mapper.polymorphic_on): mapper.polymorphic_identity, **given}
        parents = {name: value for name, value in given.items() if _to_one(mapper, name)}
        for name, value in given.items():
            if name in parents:
                self._refer(instance, mapper.relationships[name], value)
            else:
                setattr(instance, name, value)
        known = _known(mapper, instance)
        with ExitStack() as stored:
            rows = self._fill(mapper, instance, parents, stored)
            if self._session is not None:
                self._session.add(instance)
                _flush(self._session, mapper, known)
                self._session.refresh(instance, [each.key for each in mapper.column_attrs])
            for row in rows:
                row.update(_known(mapper, instance))
            self._related.setdefault(mapper.local_table, instance)
        for name, parent in parents.items():
            if self._session is None:
                setattr(instance, name, parent)
            else:
                # Bypass the session: the parent may belong to another, and must stay as it is.
                attributes.set_committed_value(instance, name, parent)
        return instance

    def _refer(
        self, instance: object, relationship: orm.RelationshipProperty[Any], parent: object
    ) -> None:
        """Set the foreign key of a relationship to a given parent."""
        target = relationship.mapper
        if parent is not None and not isinstance(parent, target.class_):
            raise BuildError(f"{relationship} takes a {target.class_.__name__}, not {parent!r}")
        if parent is not None and self._session and sa.inspect(parent).transient:
            self._session.add(parent)
            self._session.flush()
        for local, remote in relationship.local_remote_pairs or ():
            value = None if parent is None else getattr(parent, _key(target, remote))
            setattr(instance, _key(relationship.parent, local), value)
        self._relate(parent)

    def _relate(self, parent: object) -> None:
        """Record a given instance, and those loaded in its relationships."""
        mapper = sa.inspect(type(parent), raiseerr=False)
        if isinstance(mapper, orm.Mapper) and mapper.local_table not in self._related:
            self._related[mapper.local_table] = parent
            for name, value in vars(parent).items():
                if _to_one(mapper, name):
                    self._relate(value)

    def _fill(
        self,
        mapper: orm.Mapper[Any],
        instance: object,
        parents: dict[str, object],
        stored: ExitStack,
    ) -> list[Row]:
        """Set the required fields of an instance; add the parents made for it to `parents`.

        Return the rows that have to be stored before `stored` is closed.
        """
        used = list(parents.values())

        def parent(key: sa.ForeignKeyConstraint, known: Row) -> Row:
            relationships = _over(mapper, key)
            target = relationships[0].mapper if relationships else None
            target = _concrete(target or _mapper_of(key.referred_table, mapper.registry))
            if target is None:
                return self._unmapped(key, known)
            made = self._found(target, key, known) or self._shared(target, key, known, used)
            if made is None:
                given = {_key(target, column): value for column, value in known.items()}
                made = self.make(target.class_, given)
            used.append(made)
            parents.update({each.key: made for each in relationships})
            return {
                column: getattr(made, _key(target, column))
                for column in (each.column for each in key.elements)
            }

        rows = []
        connection = self._session.connection() if self._session else None
        for table in (each for each in mapper.tables if isinstance(each, sa.Table)):
            known = _known(mapper, instance)
            # In joined-table inheritance, the key comes from the parent table.
            inherited = {
                each.parent: known.get(each.column)
                for key in table.foreign_key_constraints
                if key.referred_table is not table and key.referred_table in mapper.tables
                for each in key.elements
            }
            given = {
                **inherited,
                **{column: known[column] for column in known if column.table is table},
            }
            row = stored.enter_context(self._rows.making(table, given, parent, connection))  # pyrefly: ignore[bad-argument-type]  # generic since 2.1
            rows.append(row)
            for column in row.keys() - given.keys():
                if mapper.columns.contains_column(column):
                    setattr(instance, _key(mapper, column), row[column])
        return rows

    def _found(
        self, target: orm.Mapper[Any], key: sa.ForeignKeyConstraint, known: Row
    ) -> object | None:
        """Return the existing instance that a key refers to, if all its values are known."""
        if self._session is None or not known.keys() >= {each.column for each in key.elements}:
            return None
        same = [column == value for column, value in known.items()]
        found: object | None = self._session.scalars(sa.select(target.class_).where(*same)).first()
        return found

    def _shared(
        self, target: orm.Mapper[Any], key: sa.ForeignKeyConstraint, known: Row, used: list[object]
    ) -> object | None:
        """Return an instance that others refer to already, if this key may share it."""
        found = self._related.get(target.local_table)
        if found is None or any(found is each for each in used) or not may_share(key):
            return None
        if any(getattr(found, _key(target, column)) != value for column, value in known.items()):
            return None
        return found

    def _unmapped(self, key: sa.ForeignKeyConstraint, known: Row) -> Row:
        """Make a row of an unmapped table; return its values."""
        if self._session:
            return self._rows.stored(self._session.connection())(key, known)
        table = key.referred_table
        with self._rows.making(table, known, self._unmapped) as row:
            return row


def _flush(session: orm.Session, mapper: orm.Mapper[Any], given: Row) -> None:
    """Flush the session.

    Raises:
        BuildError: a constraint rejects a generated value.
        IntegrityError: the server rejects a given value.
    """
    try:
        session.flush()
    except exc.IntegrityError as error:
        tables: Any = [each for each in mapper.tables if isinstance(each, sa.Table)]
        explain(error, tables, given)
        raise


def _mapper(model: type[Any]) -> orm.Mapper[Any]:
    found = sa.inspect(model, raiseerr=False)
    if not isinstance(found, orm.Mapper):
        raise BuildError(f"{model!r} is not a mapped class")
    return found


def _mapper_of(table: sa.FromClause, registry: orm.registry) -> orm.Mapper[Any] | None:
    """Return the most general mapper of a table, or None if nothing is mapped to it."""
    found = [
        each
        for each in registry.mappers
        if each.local_table is table
        and (each.inherits is None or each.inherits.local_table is not table)
    ]
    return min(found, key=lambda each: each.class_.__qualname__, default=None)


def _concrete(mapper: orm.Mapper[Any] | None) -> orm.Mapper[Any] | None:
    """Return a mapper, or that of a subclass if its own class cannot have instances."""
    if mapper is None or mapper.polymorphic_on is None:
        return mapper
    every = mapper.self_and_descendants
    return next((each for each in every if each.polymorphic_identity is not None), mapper)


def _to_one(mapper: orm.Mapper[Any], name: str) -> bool:
    """Return whether a field is a many-to-one relationship."""
    relationship = mapper.relationships.get(name)
    return relationship is not None and relationship.direction is orm.MANYTOONE


def _over(
    mapper: orm.Mapper[Any], key: sa.ForeignKeyConstraint
) -> list[orm.RelationshipProperty[Any]]:
    """Return the relationships that use a foreign key."""
    return [
        each
        for each in mapper.relationships
        if each.direction is orm.MANYTOONE
        and not each.viewonly
        and {local for local, _ in each.local_remote_pairs or ()} == set(key.columns)
    ]


def _key(mapper: orm.Mapper[Any], column: sa.ColumnElement[Any]) -> str:
    """Return the name of the attribute that a column is mapped to."""
    return mapper.get_property_by_column(column).key


def _known(mapper: orm.Mapper[Any], instance: object) -> Row:
    """Return the values set on an instance, by column."""
    return {
        column: vars(instance)[each.key]
        for each in mapper.column_attrs
        if each.key in vars(instance)
        for column in each.columns
        if isinstance(column, sa.Column)
    }
