"""Dropping and renaming of `dev` databases, and adoption of those of older stacks.

Older stacks named and stamped their databases `stack`.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from psycopg import sql

from .. import limits, names, programs
from ..errors import ConfigurationError, InfrastructureError
from ..servers import Server, binaries, checkout, libpq
from . import guards, runs, stamps
from .connection import Connection, Lock, connect, locked, session
from .lifecycle import Database
from .server_errors import writable

STAMP = "stack"


def drop_all(server: Server) -> list[str]:
    """Drop the checkout's `dev` databases, even if they are in use; return their names.

    Raises:
        ConfigurationError: one may not be destroyed. Nothing was touched.
        InfrastructureError: another session blocks for too long.
    """
    with session(server.url) as connection:
        mark, found = checkout.mark(), []
        for name in runs.databases(connection):
            if name.startswith(f"{names.prefix()}_"):
                facts = stamps.facts(connection, name, stamps.DEV)
                if facts.stamped(stamps.DEV) and names.is_owner(facts.owner, mark):
                    found.append(guards.inspect(connection, server, name, stamps.DEV))
        for target in found:
            guards.check(target, force=True, rules=guards.DESTROYING)
        for target in found:
            with locked(connection, Lock.ACTION, target.name), writable():
                guards.drop(connection, target)
    return [target.name for target in found]


def wanted(dev: Database) -> bool:
    """Return whether a database does not exist yet, so that an older one could become it."""
    return not checkout.mark() and not dev.exists()


def adopt(dev: Database, older: Server) -> bool:
    """Turn the database of an older stack into a service's `dev`; return whether there was one.

    Args:
        dev: a database that does not exist yet.
        older: the server of that stack, which may be the same one.

    Raises:
        ConfigurationError: others are connected to it. Nothing was touched.
        InfrastructureError: it cannot be copied. The original is unchanged.
    """
    name = names.named(dev.service.name, STAMP, "")
    with session(older.url) as connection, locked(connection, Lock.ACTION, dev.name), writable():
        found = guards.inspect(connection, older, name, STAMP, dev.owner)
        # Another process may have created it in the meantime.
        if not (found.exists and found.facts.stamped(STAMP) and wanted(dev)):
            return False
        guards.check(found, rules=guards.DESTROYING)
        if older.url == dev.server.url:
            _renamed(connection, dev, name)
        else:
            _copied(dev, older, name)
            guards.drop(connection, found)
    return True


def refuse_renaming(before: Database, after: Database) -> None:
    """Ensure that a database and its snapshots may be given the names of another one's.

    Raises:
        ConfigurationError: one is in use or not ours, or a new name is taken.
    """

    def found(name: str) -> guards.DatabaseInfo:
        return guards.inspect(connection, before.server, name, before.purpose, before.owner)

    with connect(before.server.url) as connection:
        there = runs.databases(connection)
        for old, new in _changes(before, after).items():
            if new in there:
                raise ConfigurationError(
                    f"there is a database {new} already, and {old} would have its name",
                    f"look at both, and drop one: {found(new)}; {found(old)}",
                )
            guards.check(found(old), rules=guards.DESTROYING)


def rename(before: Database, after: Database) -> None:
    """Rename a database to another one's name on the same server, with all its contents.

    Its snapshots, which are named after it, are renamed too; the database itself need not exist.

    Raises:
        ConfigurationError: see `refuse_renaming`. Nothing was touched.
    """
    with (
        session(before.server.url) as connection,
        locked(connection, Lock.ACTION, before.name),
        locked(connection, Lock.ACTION, after.name),
        writable(),
        ExitStack() as undo,
    ):
        refuse_renaming(before, after)
        for old, new in _changes(before, after).items():
            _call(connection, old, new)
            undo.callback(stamps.write, connection, old, before.purpose, before.owner)
            undo.callback(_call, connection, new, old)
            stamps.write(connection, new, after.purpose, after.owner)
        undo.pop_all()


def _changes(before: Database, after: Database) -> dict[str, str]:
    """Return the names of a database, if it exists, and of its snapshots, with the new ones."""
    found = {before.name: after.name} if before.exists() else {}
    return found | {each.name: after.copy_name(each.label) for each in before.snapshots()}


def _call(connection: Connection, old: str, new: str) -> None:
    change = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    connection.execute(change.format(sql.Identifier(old), sql.Identifier(new)))


def _renamed(connection: Connection, dev: Database, name: str) -> None:
    # Its old purpose, also under the stamp's name in older versions, would keep it closed.
    for said in (*stamps.STAMPS, *stamps.OWNERS):
        reset = sql.SQL("ALTER DATABASE {} RESET {}")
        connection.execute(reset.format(sql.Identifier(name), sql.SQL(said)))
    stamps.write(connection, name, stamps.DEV, dev.owner)
    _call(connection, name, dev.name)


def _copied(dev: Database, older: Server, name: str) -> None:
    """Copy a database to another server; the copy gets its name once it is complete."""
    with session(dev.server.url) as connection, runs.run_over(connection) as identifier:
        fresh = names.database(identifier, "new")
        runs.create(connection, fresh, purpose=stamps.DEV)
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "stack.dump")
            _run("pg_dump", "--format=custom", f"--file={file}", _at(older, name))
            into = f"--dbname={_at(dev.server, fresh)}"
            _run("pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", into, file)
        _renamed(connection, dev, fresh)


def _at(server: Server, name: str) -> str:
    return libpq.bounded(server.url, dbname=name)


def _run(program: str, *arguments: str) -> None:
    path = binaries.client(program)
    done = programs.run([path, *arguments], limits.DATA, together=True) if path else None
    if done and done.returncode == 0:
        return
    said = done.stdout.strip() if done else f"{program} is not installed"
    raise InfrastructureError(
        f"the data of the older stack cannot be copied to dev: {said}",
        "see its message, then run it again; the older database is unchanged",
    )
