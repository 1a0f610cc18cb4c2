"""The checks of `invoke db.verify`: do the migrations, the models and a database agree?

Schemas are compared by their facts, in databases that are made for it and dropped afterwards. The
database that is checked is only read. Import this where it is used: Alembic takes 0.3 s.
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
from ..errors import InfrastructureError
from ..project import Service
from . import fingerprint
from .fingerprint import Difference, Facts
from .revisions import Chain, Revisions, brief, raise_if_server_error

PASSED, FAILED, NOT_ASKED = True, False, None
RESULTS = {PASSED: "passed", FAILED: "failed", NOT_ASKED: "not asked"}
Outcome = tuple[bool | None, str] | tuple[bool | None, str, list[Difference]]
"""A result, its detail, and what differs between two schemas."""
NO_DATABASE = NOT_ASKED, "no database was named"
MODELS_DIFFER = (
    "the models give what is expected, the migrations what is found: write a migration, or give"
    " the metadata what it cannot hold by itself, by"
    ' sa.event.listen(metadata, "after_create", sa.DDL(...))'
)


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check; the stairway has several, one for each thing that is wrong."""

    name: str
    passed: bool | None
    """None if it could not be asked; `detail` says why."""
    detail: str
    differences: Sequence[Difference] = ()


def table(checks: Sequence[Check]) -> str:
    """Return the checks as a table of plain text, each with its differences below."""
    rows = [("check", "result"), *((each.name, RESULTS[each.passed]) for each in checks)]
    name, result = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [f"{'check':{name}}  {'result':{result}}  detail"]
    for each in checks:
        lines.append(f"{each.name:{name}}  {RESULTS[each.passed]:{result}}  {each.detail}")
        lines += [f"    {line}" for each in each.differences for line in str(each).splitlines()]
    return "\n".join(lines)


def as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return the checks as what JSON can hold."""
    return [{**asdict(each), "result": RESULTS[each.passed]} for each in checks]


def verify(server_url: str, service: Service, database: str | None = None) -> list[Check]:
    """Check a service, and a database that should have its schema.

    Processes may do so side by side; threads may not, since Alembic has one context for them all.

    Args:
        server_url: a server on which databases may be created, and which holds `database`.
        service: whose migrations and models they are.
        database: a name, or None to check the service alone.

    Raises:
        InfrastructureError: the server does not answer, is a replica, or lacks an extension, or the
            role may not create databases.
    """
    checks: list[Check] = []
    try:
        with databases.run(server_url) as run, ExitStack() as stack:
            context = VerifyContext(server_url, service, database, run, stack)
            for question in QUESTIONS:
                checks += [Check(question.name, *each) for each in _ask(question, context, checks)]
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"PostgreSQL cannot go on: {brief(error)}", "see whether the server is up, and its disk"
        ) from error
    return checks


class Scratch:
    """A database that a run has made for itself; the run drops it."""

    def __init__(self, server: str, name: str, stack: ExitStack) -> None:
        with databases.connect(server) as maintenance:
            runs.create(maintenance, name)
        own = stack.enter_context(databases.connect(server, name))
        self.connection = stack.enter_context(migrations.engine_over(own).connect())
        # Its own, so that the query is prepared once and no transaction of a migration is met.
        self._catalog = stack.enter_context(databases.connect(server, name))

    def facts(self) -> Facts:
        """Return what its schema is made of."""
        return fingerprint.facts(self._catalog)


@dataclass
class VerifyContext:
    """A service, a server to try it on, and a database that should have its schema."""

    server: str
    service: Service
    database: str | None
    run: str
    stack: ExitStack
    """Closes the connections, before the run drops the databases that they are to."""
    schemas: dict[Chain, Facts] = field(default_factory=dict)
    """The schema after a chain of revisions, where it is known."""
    _scratches: int = 0

    @cached_property
    def revisions(self) -> Revisions:
        """The revisions of the service."""
        return Revisions(self.service)

    @cached_property
    def present(self) -> tuple[str, ...]:
        """The revisions that the database is at by its own account; none if never migrated."""
        with databases.session(self.server, str(self.database)) as connection:
            return tuple(migrations.revisions(connection))

    @property
    def unknown_revisions(self) -> list[str]:
        """The revisions among them that the code does not have."""
        known = {each.revision for each in self.revisions.chain}
        return [each for each in self.present if each not in known]

    def scratch(self, chain: Chain = ()) -> Scratch:
        """Return a new database to which a chain of revisions was applied.

        Raises:
            MigrationError: a migration fails.
            InfrastructureError: the role may not create databases, or the server has a fault.
        """
        self._scratches += 1
        name = names.database(self.run, f"verify{self._scratches}")
        scratch = Scratch(self.server, name, self.stack)
        for revision in chain:
            self.revisions.apply(scratch.connection, revision)
        return scratch

    def migrated(self, chain: Chain) -> Facts:
        """Return the schema that a chain of revisions gives; it raises what `scratch` does."""
        if chain not in self.schemas:
            self.schemas[chain] = self.scratch(chain).facts()
        return self.schemas[chain]


class Question(NamedTuple):
    """A check, and those that must have passed before it makes sense."""

    name: str
    ask: Callable[[VerifyContext], Iterator[Outcome]]
    after: tuple[str, ...] = ()


def _ask(question: Question, context: VerifyContext, so_far: list[Check]) -> Iterator[Outcome]:
    unmet = [each.name for each in so_far if each.name in question.after and not each.passed]
    if unmet:
        yield NOT_ASKED, f"it needs an answer to: {', '.join(unmet)}"
        return
    try:
        yield from question.ask(context)
    except MigrationError as error:
        yield NOT_ASKED, f"the migrations do not go up: {error.message}"


def connection(context: VerifyContext) -> Iterator[Outcome]:
    """Is there a server that scratch databases can be made on, and the database?"""
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
    """Does each revision follow one that is there, back to the first?"""
    try:
        yield PASSED, f"{len(context.revisions.chain)}, without a hole"
    except MigrationError as error:
        yield FAILED, error.message


def head(context: VerifyContext) -> Iterator[Outcome]:
    """Is there exactly one revision that no other one follows?"""
    heads = context.revisions.heads
    if not heads:
        yield FAILED, 'there is none: uv run invoke db.revision -m "..."'
    elif len(heads) > 1:
        command = f"in services/{context.service.name}: uv run alembic merge heads"
        there = ", ".join(heads)
        yield FAILED, f"there are {len(heads)}: {there}; let one follow the other, or {command}"
    else:
        yield PASSED, heads[0]


def stairway(context: VerifyContext) -> Iterator[Outcome]:
    """Does each revision go up, down without a trace, and up again to the same?"""
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
            # Whatever it left behind must not be laid at the next one's door.
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


def models(context: VerifyContext) -> Iterator[Outcome]:
    """Do the models give the schema that the migrations give?"""
    migrated = context.migrated(context.revisions.chain)
    where = context.service.metadata
    try:
        metadata = load_metadata(where)
    except Exception as error:  # noqa: BLE001 - importing the service's code can fail in any way
        yield FAILED, f"{where} cannot be loaded: {brief(error)}"
        return
    scratch = context.scratch()
    try:
        for statement in _prerequisites(migrated):
            scratch.connection.exec_driver_sql(statement)
        metadata.create_all(scratch.connection)
        scratch.connection.commit()
    except Exception as error:  # noqa: BLE001 - so can the types and events that are the service's
        raise_if_server_error(error)
        yield FAILED, f"{where} cannot be created: {brief(error)}"
        return
    if differences := fingerprint.compare(scratch.facts(), migrated):
        yield FAILED, MODELS_DIFFER, differences
    else:
        yield PASSED, f"as migrated, tables: {len(metadata.tables)}"


def load_metadata(where: str) -> sa.MetaData:
    """Return the metadata of a service's models, which are at `where`, as `module:attribute`.

    Raises:
        TypeError: something else is there. Importing the service's code can fail in any other way.
    """
    module, _, attribute = where.partition(":")
    found = attrgetter(attribute)(import_module(module))
    if not isinstance(found, sa.MetaData):
        raise TypeError(f"it is {type(found).__name__}, not MetaData")
    return found


def _prerequisites(migrated: Facts) -> Iterator[str]:
    """Yield the statements for what models stand on and `create_all` does not make."""
    for fact in migrated.values():
        if fact.kind == "schema":
            yield f"CREATE SCHEMA IF NOT EXISTS {fact.name}"
    for fact in migrated.values():
        if fact.kind == "extension":
            yield f"CREATE EXTENSION IF NOT EXISTS {fact.name} {fact.definition} CASCADE"


def at_head(context: VerifyContext) -> Iterator[Outcome]:
    """Is the database at the head?"""
    name, present = context.database, context.present if context.database else ()
    if name is None:
        yield NO_DATABASE
    elif not present:
        yield FAILED, f"{name} was never migrated: uv run invoke db.setup"
    elif context.unknown_revisions:
        text = "which this code does not have; another branch may: uv run invoke db.reset"
        yield FAILED, f"{name} is at {', '.join(context.unknown_revisions)}, {text}"
    elif present != tuple(context.revisions.heads):
        behind = len(context.revisions.chain) - len(context.revisions.up_to(*present))
        at = ", ".join(present)
        yield FAILED, f"{name} is at {at}, {behind} behind: uv run invoke db.migrate"
    else:
        yield PASSED, f"{name} is at {present[0]}"


def drift(context: VerifyContext) -> Iterator[Outcome]:
    """Has the database the schema that the migrations up to its revision give?"""
    name = context.database
    if name is None:
        yield NO_DATABASE
        return
    if not context.present or context.unknown_revisions:
        yield NOT_ASKED, "it is at no revision that this code has"
        return
    expected = context.migrated(context.revisions.up_to(*context.present))
    with databases.session(context.server, name) as connection:
        differences = fingerprint.compare(expected, fingerprint.facts(connection))
    if differences:
        yield FAILED, f"{name} is not as migrated", differences
    else:
        yield PASSED, f"{name} is as migrated, parts: {len(expected)}"


QUESTIONS = (
    Question("connection", connection),
    Question("revisions", revisions),
    Question("head", head, after=("revisions",)),
    Question("stairway", stairway, after=("head",)),
    Question("models", models, after=("head",)),
    Question("revision", at_head, after=("connection", "head")),
    Question("drift", drift, after=("connection", "head")),
)
