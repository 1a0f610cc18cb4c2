"""Stamp and owner of a database: its purpose, and the service that it belongs to.

They are settings on the database itself, written when it is created: they are not in the schema,
are not copied by a clone, and go wherever the database goes. A plain role may not define settings;
it writes a comment with lines such as `strata.environment=test`. A database from before owners
existed is taken over by the first service that changes it.
"""

import re
from typing import NamedTuple

from psycopg import errors, sql

from .connection import Connection, assembled

STAMP, OWNER = "strata.environment", "strata.owner"
SNAPSHOT = "strata.snapshot"
STAMPS, OWNERS = (STAMP, "ops.environment"), (OWNER, "ops.owner")
"""Names of the settings to read; older versions wrote the second of each."""
TEST, DEV = "test", "dev"
PURPOSES = (DEV, TEST)
"""Purposes of the databases for people: development and tests."""

_SAID = re.compile(rf"(?im)^\s*(?:{'|'.join(map(re.escape, STAMPS))})\s*=(.*)$")
_LABELLED = re.compile(rf"(?m)^{re.escape(SNAPSHOT)}=(\S+) (.*)$")
_OWNED = re.compile(rf"(?m)^(?:{'|'.join(map(re.escape, OWNERS))})=(.*)$")


class Mark(NamedTuple):
    """A setting or comment that states the purpose of a database."""

    value: str
    own: bool
    """Whether it is set on the database itself: only then does it permit anything."""
    undo: str
    """Statement that changes it, so that the database may be used."""


class Facts(NamedTuple):
    """The server's facts about a database of a given name, which need not exist."""

    oid: int | None
    """OID of the database; None if it does not exist."""
    recovering: bool
    """Whether the server is a replica or is recovering."""
    marks: tuple[Mark, ...]
    owner: str | None = None
    """Project and service that it belongs to, if it says so."""

    @property
    def stamp(self) -> str | None:
        """Purpose of the database; several if its marks disagree."""
        return ", ".join(dict.fromkeys(mark.value for mark in self.marks)) or None

    def stamped(self, purpose: str) -> bool:
        """Return whether the database itself is stamped for `purpose`."""
        return any(mark.own and mark.value == purpose for mark in self.marks)

    def refusals(self, purpose: str) -> tuple[Mark, ...]:
        """Return the marks that forbid its use for `purpose`, wherever they are set."""
        return tuple(mark for mark in self.marks if mark.value != purpose)


def facts(connection: Connection, name: str, purpose: str = TEST) -> Facts:
    """Return the server's facts about a database.

    Args:
        connection: a connection to any database on the server.
        name: the name of the database.
        purpose: the intended purpose, which `Mark.undo` sets.
    """
    keys = {"name": name, "stamps": [*STAMPS], "owners": [*OWNERS], "purpose": purpose}
    row = connection.execute(_FACTS, keys).fetchone()
    row = row or (None, True, [], "", "", {}, None)
    oid, recovering, settings, comment, remark, seen, owner = row
    marks = [Mark(*setting) for setting in settings]
    said = [word.strip() for word in _SAID.findall(comment or "")]
    word = (comment or "").strip()
    said += [word] if not said and word.casefold() in ("production", "prod") else []
    marks += [Mark(each, own=True, undo=remark) for each in said]
    # Set by the server's configuration, or by whatever else sets it for a connection.
    for key, value in seen.items():
        if value and value not in {mark.value for mark in marks}:
            undo = f"see who sets {key} for connections to {connection.info.dbname}"
            marks.append(Mark(value, own=False, undo=undo))
    noted = _OWNED.search(comment or "")
    return Facts(oid, recovering, tuple(marks), owner or (noted[1] if noted else None))


def write(connection: Connection, name: str, purpose: str, owner: str) -> None:
    """Write a database's purpose and owner on it.

    The rest of a comment on it is kept, such as the label of a snapshot.
    """
    target = sql.Identifier(name)
    setting = sql.SQL("ALTER DATABASE {} SET {} = {}")
    comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
    # The owner first: if killed in between, the database has no stamp, and both are written again.
    said = {OWNER: owner, STAMP: purpose}
    try:
        for key, value in said.items():
            connection.execute(setting.format(target, assembled(key), sql.Literal(value)))
    except errors.InsufficientPrivilege:
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        (before,) = connection.execute(query, (name,)).fetchone() or (None,)
        others = [
            line
            for line in (before or "").splitlines()
            if not (_SAID.match(line) or _OWNED.match(line))
        ]
        text = "\n".join([*(f"{key}={value}" for key, value in said.items()), *others])
        connection.execute(comment.format(target, sql.Literal(text)))


class Snapshot(NamedTuple):
    """A copy of a database that is kept under a label."""

    label: str
    name: str
    """Name of the copy."""
    made: str
    """Time of its creation, by the clock of the server."""
    size: int | None
    """Size in bytes; None if the role may not connect to it."""


def label(connection: Connection, name: str, label: str) -> None:
    """Write the label of a snapshot and the current time on it."""
    query = (
        "SELECT concat_ws(E'\\n', shobj_description(oid, 'pg_database'), %s || '='"
        " || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') || ' ' || %s)"
        " FROM pg_database WHERE datname = %s"
    )
    for (text,) in connection.execute(query, (SNAPSHOT, label, name)).fetchall():
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        connection.execute(comment.format(sql.Identifier(name), sql.Literal(text)))


def snapshots(connection: Connection) -> list[Snapshot]:
    """Return the labelled copies on the server."""
    query = (
        "SELECT datname, shobj_description(oid, 'pg_database'),"
        " CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) END"
        " FROM pg_database"
    )
    found = []
    for name, comment, size in connection.execute(query).fetchall():
        if labelled := _LABELLED.search(comment or ""):
            found.append(Snapshot(labelled[2], name, labelled[1], size))
    return sorted(found)


_FACTS = """
    SELECT found.oid::int8, pg_is_in_recovery(),
      (SELECT coalesce(json_agg(json_build_array(
         substr(said, strpos(said, '=') + 1),
         setdatabase = found.oid AND setrole = 0,
         CASE WHEN setdatabase = found.oid AND setrole = 0
         THEN concat('ALTER DATABASE ', quote_ident(datname), ' SET ', stamp, ' = ', purpose)
         ELSE concat('ALTER ROLE ', coalesce(quote_ident(rolname), 'ALL'),
                     CASE WHEN setdatabase > 0 THEN ' IN DATABASE ' || quote_ident(datname) END,
                     ' RESET ', stamp) END)), '[]')
       FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS said
         CROSS JOIN lower(split_part(said, '=', 1)) AS stamp
         LEFT JOIN pg_roles ON pg_roles.oid = setrole
       WHERE stamp = ANY(stamps)
         AND (setdatabase = found.oid
              OR setdatabase = 0 AND (setrole = 0 OR rolname = session_user))),
      shobj_description(found.oid, 'pg_database'),
      concat('COMMENT ON DATABASE ', quote_ident(datname), ' IS ',
             quote_literal(concat(stamps[1], '=', purpose))),
      (SELECT json_object_agg(stamp, current_setting(stamp, true)) FROM unnest(stamps) AS stamp),
      (SELECT substr(said, length(owner) + 2)
       FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS said
         CROSS JOIN unnest(%(owners)s::text[]) WITH ORDINALITY AS of (owner, place)
       WHERE setdatabase = found.oid AND setrole = 0 AND starts_with(said, owner || '=')
       ORDER BY place LIMIT 1)
    FROM (VALUES (%(name)s::text, %(stamps)s::text[], %(purpose)s::text))
      AS asked (name, stamps, purpose) LEFT JOIN pg_database AS found ON datname = name
"""
