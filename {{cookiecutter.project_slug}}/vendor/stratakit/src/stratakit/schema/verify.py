"""The questions, as a table, and how each is answered.

By the catalog (see `fingerprint`), in databases that are made for it and dropped afterwards. The
database that is asked about is only read.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg

from .. import database as databases
from .. import fingerprint
from ..database import MigrationError
from ..errors import InfrastructureError
from ..project import Service
from .checks import Answer, Check, failed, not_asked, passed
from .context import VerifyContext
from .models import models
from .revisions import brief
from .stairway import stairway


@dataclass(frozen=True, slots=True)
class Question:
    """Something to ask, and the questions without whose answer it makes no sense."""

    name: str
    ask: Callable[[VerifyContext], Iterator[Answer]]
    after: tuple[str, ...] = ()


def verify(server_url: str, service: Service, database: str | None = None) -> list[Check]:
    """Ask everything about a service, and about a database that should have its schema.

    Processes may do so side by side; threads may not, since Alembic has one context for them all.

    Args:
        server_url: a server on which databases may be created, and which holds `database`.
        service: whose migrations and models they are.
        database: a name, or None to ask about the service alone.

    Raises:
        InfrastructureError: the server does not answer, is a replica, or lacks an extension, or the
            role may not create databases.
    """
    checks: list[Check] = []
    try:
        with databases.run(server_url) as run, ExitStack() as stack:
            subject = VerifyContext(server_url, service, database, run, stack)
            for question in QUESTIONS:
                answers = list(_answers(question, subject, checks))
                checks += [Check(question.name, *answer) for answer in answers]
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"PostgreSQL cannot go on: {brief(error)}", "see whether the server is up, and its disk"
        ) from error
    return checks


def _answers(question: Question, subject: VerifyContext, so_far: list[Check]) -> Iterator[Answer]:
    unmet = [each.name for each in so_far if each.name in question.after and not each.passed]
    if unmet:
        yield not_asked(f"it needs an answer to: {', '.join(unmet)}")
        return
    try:
        yield from question.ask(subject)
    except MigrationError as error:
        yield not_asked(f"the migrations do not go up: {error.message}")


def connection(subject: VerifyContext) -> Iterator[Answer]:
    """Is there a server that scratch databases can be made on, and the database?"""
    query = """
        SELECT current_setting('server_version'), current_user, pg_is_in_recovery(),
          EXISTS (SELECT FROM pg_database WHERE datname = %s)
    """
    with databases.connect(subject.server) as server:
        row = server.execute(query, (subject.database,)).fetchone() or ("", "", True, False)
    version, user, replica, there = row
    if replica:
        raise InfrastructureError(
            "this PostgreSQL is a replica: no scratch database can be made", "use the primary"
        )
    if subject.database and not there:
        yield failed(f"there is no database {subject.database}: uv run invoke db.setup")
    else:
        yield passed(f"PostgreSQL {version}, as {user}")


def revisions(subject: VerifyContext) -> Iterator[Answer]:
    """Does each revision follow one that is there, back to the first?"""
    try:
        yield passed(f"{len(subject.revisions.chain)}, without a hole")
    except MigrationError as error:
        yield failed(error.message)


def head(subject: VerifyContext) -> Iterator[Answer]:
    """Is there exactly one revision that no other one follows?"""
    heads = subject.revisions.heads
    if not heads:
        yield failed('there is none: uv run invoke db.revision -m "..."')
    elif len(heads) > 1:
        yield failed(
            f"there are {len(heads)}: {', '.join(heads)}; let one follow the other, or in"
            f" services/{subject.service.name}: uv run alembic merge heads",
        )
    else:
        yield passed(heads[0])


def at_head(subject: VerifyContext) -> Iterator[Answer]:
    """Is the database at the head?"""
    if subject.database is None:
        yield not_asked(NO_DATABASE)
    elif not subject.present:
        yield failed(f"{subject.database} was never migrated: uv run invoke db.setup")
    elif subject.unknown_revisions:
        yield failed(
            f"{subject.database} is at {', '.join(subject.unknown_revisions)}, which this code does"
            " not have; another branch may: uv run invoke db.reset",
        )
    elif subject.present != tuple(subject.revisions.heads):
        behind = len(subject.revisions.chain) - len(subject.revisions.up_to(*subject.present))
        at = ", ".join(subject.present)
        yield failed(f"{subject.database} is at {at}, {behind} behind: uv run invoke db.migrate")
    else:
        yield passed(f"{subject.database} is at {subject.present[0]}")


def drift(subject: VerifyContext) -> Iterator[Answer]:
    """Has the database the schema that the migrations up to its revision give?"""
    if subject.database is None:
        yield not_asked(NO_DATABASE)
        return
    if not subject.present or subject.unknown_revisions:
        yield not_asked("it is at no revision that this code has")
        return
    expected = subject.migrated(subject.revisions.up_to(*subject.present))
    with databases.reading(subject.server, subject.database) as connection:
        differences = fingerprint.compare(expected, fingerprint.facts(connection))
    if differences:
        yield failed(f"{subject.database} is not as migrated", differences)
    else:
        yield passed(f"{subject.database} is as migrated, parts: {len(expected)}")


NO_DATABASE = "no database was named"
QUESTIONS = (
    Question("connection", connection),
    Question("revisions", revisions),
    Question("head", head, after=("revisions",)),
    Question("stairway", stairway, after=("head",)),
    Question("models", models, after=("head",)),
    Question("revision", at_head, after=("connection", "head")),
    Question("drift", drift, after=("connection", "head")),
)
