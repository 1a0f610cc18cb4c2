"""Checks of `invoke db.verify`: do the migrations, the models and a database agree?

Schemas are compared by their facts, in scratch databases that are dropped afterwards. The database
that is checked is only read. Import this where it is used: Alembic takes 0.3 s.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import import_module
from operator import attrgetter
from typing import Any, NamedTuple

import psycopg
import sqlalchemy as sa
from alembic.script import Script

from .. import database as databases
from .. import names
from ..database import MigrationError, migrations, runs
from ..database.position import Position, told
from ..database.server_errors import brief, raise_if_server_error
from ..errors import InfrastructureError
from ..factories.checks import DIALECT
from ..project import Service
from . import fingerprint, named_types, pending
from .fingerprint import Difference, Facts
from .revisions import Chain, Revisions

PASSED, FAILED, NOT_ASKED = True, False, None
RESULTS = {PASSED: "passed", FAILED: "failed", NOT_ASKED: "not asked"}
Outcome = tuple[bool | None, str] | tuple[bool | None, str, list[Difference]]
"""Result, its detail, and the differences between two schemas."""
NO_DATABASE = NOT_ASKED, "no database was named"
ADVICE = (
    f"{migrations.WRITE}; or give the metadata what it cannot hold by itself, by"
    ' sa.event.listen(metadata, "after_create", sa.DDL(...))'
)
"""Hint on how to make migrations and models agree."""
MODELS_DIFFER = (
    f"the models give what is expected, the migrations what is found; write a migration: {ADVICE}"
)


@dataclass(frozen=True, slots=True)
class Check:
    """Outcome of one check; the stairway has several, one for each fault."""

    name: str
    passed: bool | None
    """Whether it passed; None if it could not be run, for the reason in `detail`."""
    detail: str
    differences: Sequence[Difference] = ()


def table(checks: Sequence[Check]) -> str:
    """Return the checks as a plain-text table, each with its differences below."""
    rows = [("check", "result"), *((each.name, RESULTS[each.passed]) for each in checks)]
    name, result = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [f"{'check':{name}}  {'result':{result}}  detail"]
    for each in checks:
        lines.append(f"{each.name:{name}}  {RESULTS[each.passed]:{result}}  {each.detail}")
        lines += [f"    {line}" for each in each.differences for line in str(each).splitlines()]
    return "\n".join(lines)


def as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return the checks as data for JSON."""
    return [{**asdict(each), "result": RESULTS[each.passed]} for each in checks]


def verify(server_url: str, service: Service, database: str | None = None) -> list[Check]:
    """Check a service, and a database that should have its schema.

    Processes may do so concurrently; threads may not, since they share Alembic's one context.

    Args:
        server_url: a server on which databases may be created, and which holds `database`.
        service: the service that the migrations and models belong to.
        database: the name of a database, or None to check only the service.

    Raises:
        InfrastructureError: the server cannot be reached, is a replica, or lacks an extension, or
            the role may not create databases.
    """
    checks: list[Check] = []
    try:
        with databases.run(server_url) as run, ExitStack() as stack:
            context = VerifyContext(server_url, service, database, run, stack)
            for question in QUESTIONS:
                checks += [
                    Check(question.name, passed, detail, *differences)
                    for passed, detail, *differences in _ask(question, context, checks)
                ]
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"PostgreSQL cannot go on: {brief(error)}", "see whether the server is up, and its disk"
        ) from error
    return checks


class Scratch:
    """A temporary database of a run, which drops it."""

    def __init__(self, server: str, name: str, stack: ExitStack, source: str = "template0") -> None:
        self.name = name
        with databases.connect(server) as maintenance:
            runs.create(maintenance, name, source)
        own = stack.enter_context(databases.connect(server, name))
        self.connection = stack.enter_context(migrations.engine_over(own).connect())
        # Separate, so that the query is prepared once, outside the transactions of migrations.
        self._catalog = stack.enter_context(databases.connect(server, name))

    def facts(self) -> Facts:
        """Return the facts of its schema."""
        return fingerprint.facts(self._catalog)


@dataclass
class VerifyContext:
    """A service, a server to try it on, and a database that should have its schema."""

    server: str
    service: Service
    database: str | None
    run: str
    stack: ExitStack
    """Stack that closes the connections before the run drops their databases."""
    schemas: dict[Chain, Facts] = field(default_factory=dict)
    """Known schemas, by the chain of revisions that results in them."""
    _scratches: int = 0

    @cached_property
    def revisions(self) -> Revisions:
        """Revisions of the service."""
        return Revisions(self.service)

    @cached_property
    def present(self) -> tuple[str, ...]:
        """Revisions that are recorded in the database; none if it was never migrated."""
        with databases.session(self.server, str(self.database)) as connection:
            return tuple(migrations.revisions(connection))

    @cached_property
    def position(self) -> Position:
        """Position of the database among the migrations."""
        return migrations.position(self.service, str(self.database), self.present)

    def scratch(self, chain: Chain = ()) -> Scratch:
        """Return a new database with a chain of revisions applied.

        Raises:
            MigrationError: a migration fails.
            InfrastructureError: the role may not create databases, or the server fails.
        """
        self._scratches += 1
        name = names.database(self.run, f"verify{self._scratches}")
        scratch = Scratch(self.server, name, self.stack)
        for revision in chain:
            self.revisions.apply(scratch.connection, revision)
        return scratch

    def migrated(self, chain: Chain) -> Facts:
        """Return the schema after a chain of revisions; raise the same errors as `scratch`."""
        if chain not in self.schemas:
            self.schemas[chain] = self.scratch(chain).facts()
        return self.schemas[chain]


class Question(NamedTuple):
    """A check, and the checks that must have passed before it makes sense."""

    name: str
    ask: Callable[[VerifyContext], Iterator[Outcome]]
    after: tuple[str, ...] = ()


def _ask(question: Question, context: VerifyContext, so_far: list[Check]) -> Iterator[Outcome]:
    unmet = [each.name for each in so_far if each.name in question.after and not each.passed]
    if unmet:
        yield NOT_ASKED, f"must pass first: {', '.join(unmet)}"
        return
    try:
        yield from question.ask(context)
    except MigrationError as error:
        yield NOT_ASKED, f"the migrations do not go up: {error.message}"


def connection(context: VerifyContext) -> Iterator[Outcome]:
    """Check that the server allows scratch databases, and that the database exists."""
    query = """
        SELECT current_setting('server_version'), current_user, pg_is_in_recovery(),
          EXISTS (SELECT FROM pg_database WHERE datname = %s)
    """
    with databases.connect(context.server) as server:
        row = server.execute(query, (context.database,)).fetchone() or ("", "", True, False)
    version, user, replica, there = row
    if replica:
        raise InfrastructureError(
            "this PostgreSQL is a replica: no scratch database can be made", "use the primary"
        )
    if context.database and not there:
        yield FAILED, f"there is no database {context.database}: uv run invoke db.setup"
    else:
        yield PASSED, f"PostgreSQL {version}, as {user}"


def revisions(context: VerifyContext) -> Iterator[Outcome]:
    """Check that each revision follows an existing one, back to the first."""
    try:
        yield PASSED, f"{len(context.revisions.chain)}, without gaps"
    except MigrationError as error:
        yield FAILED, error.message


def head(context: VerifyContext) -> Iterator[Outcome]:
    """Check that there is exactly one revision that no other one follows."""
    position = migrations.position(context.service, "", ())
    if position.fork:
        yield FAILED, told(position.fork)
    elif position.heads:
        yield PASSED, position.heads[0]
    else:
        yield FAILED, f"there is none: {migrations.WRITE}"


def stairway(context: VerifyContext) -> Iterator[Outcome]:
    """Check that each revision goes up, down without a trace, and up again to the same schema."""
    chain = context.revisions.chain
    stairs = context.scratch()
    before = stairs.facts()
    sound = True
    for number, revision in enumerate(chain, 1):
        try:
            context.revisions.apply(stairs.connection, revision)
        except MigrationError as error:
            yield FAILED, f"{_label(revision)} does not go up: {error.message}"
            return
        after = context.schemas[chain[:number]] = stairs.facts()
        faults = list(_down_and_up(context, stairs, revision, before, after))
        yield from faults
        if faults:
            sound = False
            # The next revision must not be blamed for leftovers of this one.
            stairs = context.scratch(chain[:number])
        before = after
    if sound:
        yield PASSED, f"up, down without a trace, up again: {len(chain)}"


def _down_and_up(
    context: VerifyContext, stairs: Scratch, revision: Script, before: Facts, after: Facts
) -> Iterator[Outcome]:
    steps = (
        (False, before, "does not go down", "does not restore the schema when it is reverted"),
        (True, after, "does not go up again", "gives another schema when it goes up again"),
    )
    for up, expected, fails, differs in steps:
        try:
            context.revisions.apply(stairs.connection, revision, up=up)
        except MigrationError as error:
            yield FAILED, f"{_label(revision)} {fails}: {error.message}"
            return
        if differences := fingerprint.compare(expected, stairs.facts()):
            yield FAILED, f"{_label(revision)} {differs}", differences


def _label(script: Script) -> str:
    return f"{script.revision} ({script.doc})" if script.doc else script.revision


def at_once(context: VerifyContext) -> Iterator[Outcome]:
    """Check that all pending revisions go up at once, from each earlier one and on rows."""
    sound, oldest = True, context.service.oldest_revision
    for fault in pending.faults(
        context.revisions, lambda chain: context.scratch(chain).connection, oldest
    ):
        sound = False
        yield FAILED, fault
    if sound:
        yield PASSED, f"from each revision since {oldest or 'the first'}, on rows"


def models(context: VerifyContext) -> Iterator[Outcome]:
    """Check that the models produce the same schema as the migrations."""
    migrated = context.migrated(context.revisions.chain)
    try:
        metadata = load_metadata(context.service.metadata)
        created = create_models(context, metadata, migrated)
    except MigrationError as error:
        yield FAILED, error.message
        return
    if differences := compare(created, migrated):
        yield FAILED, MODELS_DIFFER, differences
    else:
        yield PASSED, f"as migrated, tables: {len(metadata.tables)}"


def create_models(context: VerifyContext, metadata: sa.MetaData, migrated: Facts) -> Facts:
    """Return the schema that the models produce, given the prerequisites from the migrations.

    Raises:
        MigrationError: they cannot be created.
        InfrastructureError: the server fails, or lacks an extension.
    """
    scratch = context.scratch()
    try:
        for statement in _prerequisites(metadata, migrated):
            scratch.connection.exec_driver_sql(statement)
        metadata.create_all(scratch.connection)
        scratch.connection.commit()
    except Exception as error:
        raise_if_server_error(error, "the models")
        where = context.service.metadata
        raise MigrationError(
            f"{where} cannot be created: {brief(error)}", f"fix {where}, or what its events do"
        ) from error
    return scratch.facts()


def compare(created: Facts, migrated: Facts) -> list[Difference]:
    """Return the differences between the schemas of the models and of the migrations.

    A partition that the models do not have is not one: it is a part of a table that they have.
    """
    return [
        each
        for each in fingerprint.compare(created, migrated)
        if not (each.change == "unexpected" and "PARTITION OF " in each.found)
    ]


def forgotten(server_url: str, service: Service, template: str) -> list[Difference] | None:
    """Return what the models have and no migration creates: tables, columns, indexes and so on.

    None if the models cannot be created, which `verify` explains.

    Args:
        server_url: a server on which databases may be created.
        service: the service that the models belong to.
        template: a database on it that was created by the migrations alone.
    """
    with databases.run(server_url) as run, ExitStack() as stack:
        context = VerifyContext(server_url, service, None, run, stack)
        name = names.database(run, "migrated")
        databases.clone(server_url, template, name)
        migrated = stack.enter_context(databases.connect(server_url, name))
        context.schemas[context.revisions.chain] = fingerprint.facts(migrated)
        ((passed, _, *differences),) = models(context)
    if not passed and not differences:
        return None
    # What the models lack or cannot express is not a reason for every test to fail.
    return [each for found in differences for each in found if each.change != "unexpected"]


def load_metadata(where: str) -> sa.MetaData:
    """Return the metadata of a service's models at `where`, in the form `module:attribute`.

    Raises:
        MigrationError: it cannot be loaded, or is something else.
    """
    module, _, attribute = where.partition(":")
    try:
        found = attrgetter(attribute)(import_module(module))
    except Exception as error:  # noqa: BLE001 - the service's code can fail in any way
        problem = brief(error)
    else:
        if isinstance(found, sa.MetaData):
            return found
        problem = f"TypeError: it is {type(found).__name__}, not MetaData"
    raise MigrationError(f"{where} cannot be loaded: {problem}", f"fix {where}")


def _prerequisites(metadata: sa.MetaData, migrated: Facts) -> Iterator[str]:
    """Yield statements for what the models depend on and `create_all` does not create."""
    quote = DIALECT.identifier_preparer.quote_schema
    schemas = {quote(name) for name in named_types.schemas(metadata)}
    for name in sorted(
        schemas | {each.name for each in migrated.values() if each.kind == "schema"}
    ):
        yield f"CREATE SCHEMA IF NOT EXISTS {name}"
    for fact in migrated.values():
        if fact.kind == "extension":
            yield f"CREATE EXTENSION IF NOT EXISTS {fact.name} {fact.definition} CASCADE"


def at_head(context: VerifyContext) -> Iterator[Outcome]:
    """Check that the database is at the head."""
    if context.database is None:
        yield NO_DATABASE
    elif problem := context.position.problem:
        yield FAILED, told(problem)
    else:
        yield PASSED, f"{context.database} is at {context.present[0]}"


def drift(context: VerifyContext) -> Iterator[Outcome]:
    """Check that the database has the schema of the migrations up to its revision."""
    name = context.database
    if name is None:
        yield NO_DATABASE
        return
    if not context.present or context.position.unknown:
        yield NOT_ASKED, "its revision is missing, or unknown to this code"
        return
    expected = context.migrated(context.revisions.up_to(*context.present))
    with databases.session(context.server, name) as connection:
        differences = fingerprint.compare(expected, fingerprint.facts(connection))
    if differences:
        yield FAILED, f"{name} is not as migrated", differences
    else:
        yield PASSED, f"{name} is as migrated, parts: {len(expected)}"


CONNECTION = "connection"
"""The one check that is not about migrations: whether the database is there."""
QUESTIONS = (
    Question(CONNECTION, connection),
    Question("revisions", revisions),
    Question("head", head, after=("revisions",)),
    Question("stairway", stairway, after=("head",)),
    Question("at once", at_once, after=("stairway",)),
    Question("models", models, after=("head",)),
    Question("revision", at_head, after=(CONNECTION, "head")),
    Question("drift", drift, after=(CONNECTION, "head")),
)
