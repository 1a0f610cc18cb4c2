"""Model instances made up from the models' metadata: a new model needs no factory of its own.

    async def test_an_invoice_can_be_paid(build: Build) -> None:
        invoice = await build(Invoice, total=3)

What is built is valid: it has the rows that it refers to, values of its own where they must be
unique, and such as its CHECK constraints let pass. Each of them can be given instead.
"""

import difflib
from collections import defaultdict
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc, orm
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import attributes

from .checks import checks
from .rows import BuildError, Row, Rows, advice, violation

M = TypeVar("M")


def example(model: type[M], number: int = 1, /, **given: object) -> M:
    """Return an instance with every field that may not be null, made without a database.

    It has what a server would fill in, too, except for generated columns: it is for reading, not
    for storing. The same arguments give equal instances.

    Args:
        model: a mapped class.
        number: which one; each has unique values of its own.
        given: fields whose values are not to be made up, relationships among them.

    Raises:
        BuildError: there is no such field, or no value is found for one.
    """
    rows = Rows("example", defaultdict(lambda: number - 1))
    return _Maker(rows, None).make(model, given)


class Build:
    """Builds and commits instances in one database. Tests have it as the fixture `build`."""

    def __init__(self, bind: AsyncEngine | AsyncConnection, seed: str) -> None:
        """Take the database, and what all values depend on.

        What is built over a connection that is in a transaction is committed with that.
        """
        self._bind = bind
        self._seed = seed
        self._numbers: defaultdict[sa.Table, int] = defaultdict(int)

    async def __call__(self, model: type[M], /, **given: object) -> M:
        """Build one, and what it cannot be without.

        Args:
            model: a mapped class.
            given: fields whose values are not to be made up, relationships among them.

        Raises:
            BuildError: there is no such field, or no value is found for one.
            IntegrityError: the server refuses what was given.
        """
        [built] = await self.many(model, 1, **given)
        return built

    async def many(self, model: type[M], count: int, /, **given: object) -> list[M]:
        """Build several in one transaction; they share what is given.

        Raises:
            BuildError: as for one.
            IntegrityError: as for one.
        """

        def make(session: orm.Session) -> list[M]:
            maker = _Maker(Rows(self._seed, self._numbers), session)
            return [maker.make(model, given) for _ in range(count)]

        async with (
            AsyncSession(
                self._bind, expire_on_commit=False, join_transaction_mode="create_savepoint"
            ) as session,
            session.begin(),
        ):
            return await session.run_sync(make)


class _Maker:
    """Makes instances, and stores them if there is a session."""

    def __init__(self, rows: Rows, session: orm.Session | None) -> None:
        self._rows = rows
        self._session = session

    def make(self, model: type[M], given: dict[str, object]) -> M:
        mapper = _mapper(model)
        _refuse_unknown(mapper, given)
        # Not by calling the class, which may want arguments of its own.
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
        self._fill(mapper, instance, parents)
        if self._session is None:
            for name, parent in parents.items():
                setattr(instance, name, parent)
            return instance
        self._session.add(instance)
        _flush(self._session, mapper, known)
        self._session.refresh(instance, [each.key for each in mapper.column_attrs])
        for name, parent in parents.items():
            # Without a word to the session: it may be another one's, and stays the same object.
            attributes.set_committed_value(instance, name, parent)
        return instance

    def _refer(
        self, instance: object, relationship: orm.RelationshipProperty[Any], parent: object
    ) -> None:
        """Set the foreign key of a relationship to a parent that was given."""
        target = relationship.mapper
        if parent is not None and not isinstance(parent, target.class_):
            raise BuildError(f"{relationship} takes a {target.class_.__name__}, not {parent!r}")
        if parent is not None and self._session and sa.inspect(parent).transient:
            self._session.add(parent)
            self._session.flush()
        for local, remote in relationship.local_remote_pairs or ():
            value = None if parent is None else getattr(parent, _key(target, remote))
            setattr(instance, _key(relationship.parent, local), value)

    def _fill(self, mapper: orm.Mapper[Any], instance: object, parents: dict[str, object]) -> None:
        """Set what an instance needs; add the parents that were made for it to `parents`."""

        def parent(key: sa.ForeignKeyConstraint, known: Row) -> Row:
            relationships = _over(mapper, key)
            target = relationships[0].mapper if relationships else None
            made, row = self._parent(target, mapper.registry, key, known)
            parents.update({each.key: made for each in relationships})
            return row

        for table in (each for each in mapper.tables if isinstance(each, sa.Table)):
            known = _known(mapper, instance)
            # A table that extends another one has its key from there.
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
            row = self._rows.fill(table, given, parent, complete=self._session is None)
            for column in row.keys() - given.keys():
                if mapper.columns.contains_column(column):
                    setattr(instance, _key(mapper, column), row[column])

    def _parent(
        self,
        target: orm.Mapper[Any] | None,
        registry: orm.registry,
        key: sa.ForeignKeyConstraint,
        known: Row,
    ) -> tuple[object, Row]:
        """Make what a foreign key refers to; return the instance, if it is one, and its values."""
        target = _concrete(target or _mapper_of(key.referred_table, registry))
        if target:
            given = {_key(target, column): value for column, value in known.items()}
            made = self.make(target.class_, given)
            columns = [each.column for each in key.elements]
            return made, {column: getattr(made, _key(target, column)) for column in columns}
        if self._session:
            connection = self._session.connection()
            return None, self._rows.insert(connection, key.referred_table, known)

        def parent(key: sa.ForeignKeyConstraint, known: Row) -> Row:
            return self._parent(None, registry, key, known)[1]

        return None, self._rows.fill(key.referred_table, known, parent, complete=True)


def _flush(session: orm.Session, mapper: orm.Mapper[Any], given: Row) -> None:
    """Send what was added.

    Raises:
        BuildError: a check refuses what was made up here.
        IntegrityError: the server refuses what was given.
    """
    try:
        session.flush()
    except exc.IntegrityError as error:
        name, fields = violation(error).constraint, {column.name for column in given}
        tables = [each for each in mapper.tables if isinstance(each, sa.Table)]
        for check in (each for table in tables for each in checks(table)):
            if check.name == name and not check.columns & fields:
                raise BuildError(
                    f"{mapper.class_.__name__}: no values were found that the constraint {name}"
                    f" lets pass: CHECK ({check.text})."
                    f" {advice(min(check.columns, default='field'))}"
                ) from error
        raise


def _mapper(model: type[Any]) -> orm.Mapper[Any]:
    found = sa.inspect(model, raiseerr=False)
    if not isinstance(found, orm.Mapper):
        raise BuildError(f"{model!r} is no mapped class")
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
    """Return a mapper, or that of a subclass if there can be no instances of its own class."""
    if mapper is None or mapper.polymorphic_on is None:
        return mapper
    every = mapper.self_and_descendants
    return next((each for each in every if each.polymorphic_identity is not None), mapper)


def _to_one(mapper: orm.Mapper[Any], name: str) -> bool:
    """Return whether a field is a relationship by a foreign key of the mapper's own."""
    relationship = mapper.relationships.get(name)
    return relationship is not None and relationship.direction is orm.MANYTOONE


def _over(
    mapper: orm.Mapper[Any], key: sa.ForeignKeyConstraint
) -> list[orm.RelationshipProperty[Any]]:
    """Return the relationships by a foreign key."""
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
    """Return what is set on an instance, by column."""
    return {
        column: vars(instance)[each.key]
        for each in mapper.column_attrs
        if each.key in vars(instance)
        for column in each.columns
        if isinstance(column, sa.Column)
    }


def _refuse_unknown(mapper: orm.Mapper[Any], given: dict[str, object]) -> None:
    names = [str(each) for each in mapper.all_orm_descriptors.keys()]  # noqa: SIM118 - no mapping
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names)}"
            raise BuildError(f"{mapper.class_.__name__} has no field {name!r}: {hint}")
