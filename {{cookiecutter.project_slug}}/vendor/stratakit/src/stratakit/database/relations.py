"""Tables and views of a database, and the obstacles to emptying them."""

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import ConfigurationError
from ..pyproject import table
from .connection import Connection


class CleaningError(ConfigurationError):
    """Failure to clean something, or to tell whether it is clean."""


class Switch(NamedTuple):
    """Statements that disable a trigger, a rule or a policy, and enable it again as before."""

    off: str
    on: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table, partitioned or not, and the role's rights to it."""

    switches: tuple[Switch, ...]
    """Switches of its triggers and rules that would fire for the session."""
    oid: int
    name: str
    columns: str
    """Insertable columns, as SQL."""
    readable: bool
    writable: bool
    """Whether the role may delete and insert its rows."""
    owned: bool
    hidden: bool
    """Whether policies hide rows from the role."""
    foreign: bool
    """Whether it, or a part of it, is a writable foreign table."""

    @property
    def policies(self) -> Switch | None:
        """Switch that stops its policies from hiding rows from the owner; None if none do."""
        change = f"ALTER TABLE {self.name} {{}} ROW LEVEL SECURITY"
        return Switch(change.format("NO FORCE"), change.format("FORCE")) if self.hidden else None


def tables(connection: Connection) -> list[Table]:
    """Return the tables to clean, sorted by name, as the role and the session see them.

    Tables that `uncleaned` in the [tool.stratakit] table lists are left out.

    Raises:
        CleaningError: rows of one cannot be seen, or are on another server.
    """
    switches: dict[int, list[Switch]] = defaultdict(list)
    for oid, off, on in connection.execute(_SWITCHES).fetchall():
        switches[oid].append(Switch(off, on))
    uncleaned = table().get("uncleaned", [])
    rows = connection.execute(_TABLES).fetchall()
    found = [Table(tuple(switches[row[0]]), *row) for row in rows if row[1] not in uncleaned]
    for each in found:
        _refuse(each, connection.info.user)
    return found


def _refuse(table: Table, role: str) -> None:
    leave = f'uncleaned = ["{table.name}"] in the [tool.stratakit] table of pyproject.toml'
    if table.foreign:
        raise CleaningError(
            f"{table.name} cannot be cleaned: some of its rows belong to another server",
            f"if no test writes to it: {leave}",
        )
    if not table.readable:
        raise CleaningError(
            f"{table.name} cannot be cleaned: the role {role} may not read it",
            f"GRANT SELECT, INSERT, DELETE ON {table.name} TO {role}; or, to leave it: {leave}",
        )
    if table.hidden and not table.owned:
        raise CleaningError(
            f"{table.name} cannot be cleaned: its policies hide rows from the role {role}",
            f"ALTER TABLE {table.name} OWNER TO {role}, or ALTER ROLE {role} BYPASSRLS; or, to"
            f" leave it: {leave}",
        )


class View(NamedTuple):
    """A materialized view."""

    oid: int
    name: str
    columns: str
    populated: bool


def views(connection: Connection) -> list[View]:
    """Return the materialized views, each after those that it may depend on."""
    uncleaned = table().get("uncleaned", [])
    rows = connection.execute(_VIEWS).fetchall()
    return [View(*row) for row in rows if row[1] not in uncleaned]


_COLUMNS = """
    (SELECT coalesce(string_agg(quote_ident(attname), ', ' ORDER BY attnum), '') FROM pg_attribute
     WHERE attrelid = {} AND attnum > 0 AND NOT attisdropped AND attgenerated = '')
"""
_OURS = """
    NOT starts_with(nspname, 'pg_') AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
"""
_TREE = f"""
    WITH RECURSIVE own AS (
      SELECT pg_class.*, format('%I.%I', nspname, relname) AS name
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
      -- Partitions are emptied through their parent.
      WHERE relkind IN ('r', 'p', 'f') AND NOT relispartition AND relname <> 'alembic_version'
        AND {_OURS}
    ), tree (root, oid, level) AS (
      SELECT oid, oid, 0 FROM own
      UNION SELECT root, inhrelid, level + 1 FROM tree JOIN pg_inherits ON inhparent = tree.oid
    )
"""  # noqa: S608 - from the text above
_TABLES = f"""
    {_TREE}, elsewhere AS (
      SELECT root FROM tree JOIN pg_foreign_table ON ftrelid = tree.oid
      JOIN pg_foreign_server ON pg_foreign_server.oid = ftserver
      JOIN pg_foreign_data_wrapper ON pg_foreign_data_wrapper.oid = srvfdw
      -- 28: INSERT, UPDATE or DELETE. A wrapper without a handler supports none of them.
      WHERE CASE WHEN fdwhandler <> 0 THEN pg_relation_is_updatable(ftrelid, false) & 28 > 0 END
    )
    SELECT oid::int8, name, {_COLUMNS.format("own.oid")},
      has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(oid, 'SELECT'),
      has_table_privilege(oid, 'DELETE') AND has_table_privilege(oid, 'INSERT'),
      pg_has_role(relowner, 'USAGE'), row_security_active(oid),
      oid IN (SELECT root FROM elsewhere)
    FROM own WHERE relkind <> 'f' OR oid IN (SELECT root FROM elsewhere) ORDER BY name
"""  # noqa: S608 - as above
_SWITCHES = f"""
    {_TREE}, firing (mode, word) AS (
      SELECT * FROM (VALUES ('O', ''), ('A', 'ALWAYS'), ('R', 'REPLICA')) AS modes (mode, word)
      WHERE mode <> CASE current_setting('session_replication_role')
                    WHEN 'replica' THEN 'O' ELSE 'R' END
    ), found (root, level, kind, place, name, word) AS (
      SELECT root, level, 'TRIGGER', tgrelid, tgname, word
      FROM tree JOIN pg_trigger ON tgrelid = tree.oid JOIN firing ON mode = tgenabled
      WHERE NOT tgisinternal
      UNION ALL
      -- 3 and 4: ON INSERT and ON DELETE, which apply to the named table but not to its parts.
      SELECT root, level, 'RULE', ev_class, rulename, word
      FROM tree JOIN pg_rewrite ON ev_class = tree.oid JOIN firing ON mode = ev_enabled
      WHERE level = 0 AND ev_type IN ('3', '4')
    )
    SELECT root::int8, format('ALTER TABLE %s DISABLE %s %I', place::regclass, kind, name),
      format('ALTER TABLE %s ENABLE %s %s %I', place::regclass, word, kind, name)
    -- ALTER TABLE on a table applies to its parts too, so the parts come last.
    FROM found ORDER BY level, place::regclass::text, name
"""  # noqa: S608 - as above
_VIEWS = f"""
    SELECT pg_class.oid::int8, format('%I.%I', nspname, relname),
      {_COLUMNS.format("pg_class.oid")}, relispopulated
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'm' AND {_OURS} ORDER BY 1
"""  # noqa: S608 - as above
