"""`invoke db.*`: the development databases, `dev` and `test` of each service."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from invoke.collection import Collection
from invoke.context import Context

from .. import project, redis_databases, servers, settings, stack
from ..database import guards, runs, status
from ..database.lifecycle import Database
from ..database.stamps import DEV, PURPOSES, TEST
from ..errors import Code, ConfigurationError, InfrastructureError, StrataError
from . import console
from .executor import TypedTask, fail, task

ALL = "all"
HELP = {
    "service": "only this service; default: all that need PostgreSQL",
    "json": "print JSON",
}
DESTRUCTIVE_HELP = {
    **HELP,
    "yes": "do not ask for confirmation",
    "force": "terminate other connections",
    "dry_run": "print what would be done and change nothing",
}


def which(purposes: Sequence[str]) -> dict[str, str]:
    """Return the help of the flag that selects the databases."""
    default = purposes[0] if len(purposes) == 1 else ALL
    return {"database": f"dev, test or all; by default {default}"}


@dataclass(frozen=True, slots=True)
class Action:
    """An action on databases; `help` is its line in the list of actions."""

    verb: str
    help: str
    do: Callable[[Database, bool], object]
    """Called with the database, and whether to terminate other connections."""
    purposes: tuple[str, ...] = PURPOSES
    """Databases that it acts on by default."""
    destroys: bool = False
    alone: bool = False
    """Whether the services of the stack must be paused."""
    loses: Callable[[Database], list[str]] = lambda _: []
    """Called to list what it removes from `dev`; if anything, confirmation is needed."""
    skips_absent: bool = False
    """Whether it skips, by default, a missing database of a service that has another one."""

    @property
    def rules(self) -> Sequence[guards.Rule]:
        """Guard rules that a database must satisfy."""
        return guards.DESTROYING if self.destroys else guards.RULES


def everything(it: Database) -> list[str]:
    """Return a line with the row count of each table."""
    return [
        f"{table}: {status.counted(count, 'row')}" for table, count in status.rows(it).items()
    ] or ["no table"]


destroying = partial(Action, purposes=(TEST,), destroys=True, alone=True, loses=everything)
SETUP = Action(
    "setup", "Create and migrate databases, and seed dev; data is kept.", lambda it, _: it.setup()
)
ACTIONS = (
    SETUP,
    Action("create", "Create empty databases.", lambda it, _: it.create()),
    Action(
        "migrate",
        "Apply all pending migrations.",
        lambda it, _: it.migrate(),
        # A developer who only uses the stack may not have a `test` database.
        skips_absent=True,
    ),
    Action("seed", "Run the seeds/*.sql of each service.", lambda it, _: it.seed(), (DEV,)),
    destroying(
        "drop", "Drop the database of each service.", lambda it, force: it.drop(force=force)
    ),
    destroying(
        "reset",
        "Recreate the database of each service as db.setup makes it.",
        lambda it, force: it.reset(force=force),
    ),
    destroying(
        "clean",
        "Delete all rows except those inserted by migrations.",
        lambda it, force: it.clean(force=force),
    ),
    destroying(
        "rollback",
        "Revert the latest migration.",
        lambda it, force: it.rollback(force=force),
        purposes=(DEV,),
        loses=status.lost_by_rollback,
    ),
)
SNAPSHOTS = "uv run invoke db.snapshots, which lists them"
MIGRATING = ("setup", "migrate")
REDO = "undo the edit and write a new migration (db.revision), or: uv run invoke db.reset"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of an action."""

    json: bool = False
    yes: bool = False
    force: bool = True
    dry_run: bool = False


def make(action: Action) -> TypedTask:
    """Return the Invoke task of an action."""

    def change(
        _: Context, service: str | None = None, database: str | None = None, json: bool = False
    ) -> None:
        with databases(service, database, action.purposes, complete=action is SETUP) as targets:
            skips = action.skips_absent and not database
            act(action, present(targets) if skips else targets, Options(json))

    def destroy(
        _: Context,
        service: str | None = None,
        database: str | None = None,
        json: bool = False,
        yes: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> None:
        with databases(service, database, action.purposes) as targets:
            act(action, targets, Options(json, yes, force, dry_run))

    body, described = (destroy, DESTRUCTIVE_HELP) if action.destroys else (change, HELP)
    body.__name__, body.__doc__ = action.verb, action.help
    described = {**described, **which(action.purposes)}
    return task(name=action.verb, help=described, default=action is SETUP)(body)


@contextmanager
def databases(
    service: str | None, database: str | None, default: Sequence[str], *, complete: bool = False
) -> Iterator[list[Database]]:
    """Yield the databases of one or all services, on servers that stay up afterwards.

    Args:
        service: name of a service; None for all.
        database: dev, test or all; None for `default`.
        default: databases to use by default.
        complete: whether to start the other servers of `dev` as well.

    Raises:
        ConfigurationError: there is no such service, or no such database.
    """
    if database not in (None, *PURPOSES, ALL):
        raise ConfigurationError(
            f"there is no database {database!r}", "one of: --database dev, test, all"
        )
    purposes = default if database is None else PURPOSES if database == ALL else (database,)
    named = [project.service(service)] if service else project.services()
    owners = [each for each in named if "postgres" in each.needs]
    kinds = servers.KINDS if complete else ("postgres",)
    with ExitStack() as held:
        up = {}
        # `test` first: its URL may come from the environment.
        if TEST in purposes:
            lease = servers.lease(settings.load(), ("postgres",), persistent=True)
            up[TEST] = held.enter_context(lease)["postgres"]
        if DEV in purposes and owners:
            up[DEV] = held.enter_context(stack.dev(owners, kinds))
        yield [Database(up[each], owner, each) for owner in owners for each in purposes]


def present(targets: list[Database]) -> list[Database]:
    """Return the databases that exist, and all databases of services that have none."""
    there = [target for target in targets if target.exists()]
    having = {target.service.name for target in there}
    return [each for each in targets if each in there or each.service.name not in having]


def act(action: Action, targets: list[Database], options: Options) -> None:
    """Run an action on each database, after all were checked and any confirmation was given.

    Raises:
        ConfigurationError: it is not allowed on one of them, or not confirmed. None was changed.
    """
    develops = [target.service for target in targets if target.purpose == DEV]
    pausing = stack.running(develops) if action.alone else []
    agree(action, targets, options, pausing)
    results: dict[str, dict[str, object]] = {}
    if not options.dry_run:
        if pausing:
            paused = ", ".join(each.name for each in pausing)
            console.say(f"pausing {paused}, which the stack runs", quiet=options.json)
        with stack.paused(pausing):
            for target in targets if pausing else []:
                guards.check(target.inspect(), force=options.force, rules=action.rules)
            for target in targets:
                with console.progress(f"{action.verb} {target.name}", quiet=options.json):
                    done = action.do(target, options.force)
                results.setdefault(target.service.name, {})[target.purpose] = done
        if pausing and action.verb != "drop":
            stack.wait([each.name for each in pausing])
    for target in targets if action.verb in MIGRATING else []:
        for file in target.changed():
            sys.stderr.write(
                f"{file} has changed since it was applied to {target.name}\n"
                f"  hint: {REDO} --service {target.service.name} --database {target.purpose}\n"
            )
    if options.json:
        told = {"action": action.verb, "dry_run": options.dry_run, "services": results}
        console.write_json(told)


def agree(
    action: Action, targets: list[Database], options: Options, pausing: list[project.Service]
) -> None:
    """Check that an action is allowed on each database; print losses and ask for confirmation.

    Raises:
        ConfigurationError: it is not allowed on one of them, or not confirmed.
    """
    asks = False
    for target in targets:
        with target.unchanged() as found:
            force = options.force or target.service in pausing
            guards.check(found, force=force, rules=action.rules)
            lost = action.loses(target) if target.purpose == DEV and found.exists else []
            asks = asks or bool(lost) or (action.destroys and not found.owned)
            if action.destroys or lost or options.dry_run:
                removed = "".join(f"\n  removes {line}" for line in lost)
                console.say(f"{action.verb} {found}{removed}", quiet=options.json)
    if asks and not (options.dry_run or options.yes):
        names = ", ".join(each.name for each in targets)
        console.confirm(f"{action.verb} {names} on {targets[0].inspect().host}", "--yes")


@task(name="status", help={**HELP, **which(PURPOSES)})
def show_status(
    _: Context, service: str | None = None, database: str | None = None, json: bool = False
) -> None:
    """Show server, owner, size, revision and row counts of each database."""
    with databases(service, database, PURPOSES) as targets:
        found = [status.status(target) for target in targets]
    console.show([each.as_dict() for each in found], "\n".join(map(str, found)), json=json)


@task(name="verify", help={**HELP, **which(PURPOSES)})
def show_verdict(
    _: Context, service: str | None = None, database: str | None = None, json: bool = False
) -> None:
    """Check that migrations, models and databases agree; exit 1 if they do not."""
    # Imported here, since Alembic takes 0.3 s to import.
    from ..schema import verify

    with databases(service, database, PURPOSES) as targets:
        for target in targets:
            target.refuse_foreign()
        answers = {
            target.name: verify.verify(target.server.url, target.service, target.name)
            for target in targets
        }
    console.show(
        {name: verify.as_json(checks) for name, checks in answers.items()},
        "\n".join(f"{name}\n{verify.table(checks)}" for name, checks in answers.items()),
        json=json,
    )
    wrong = [
        (name, check)
        for name, checks in answers.items()
        for check in checks
        if check.passed is False
    ]
    if missing := [name for name, check in wrong if check.name == verify.CONNECTION]:
        raise InfrastructureError(f"not there: {', '.join(missing)}", "uv run invoke db.setup")
    if wrong:
        listed = ", ".join(f"{name}: {check.name}" for name, check in wrong)
        fail(f"verification failed: {listed}")


@task(
    help={
        **HELP,
        "message": "short description, used in the file name",
        "drop": "drop tables, columns, indexes and constraints that no model has",
        "merge": "only join the heads of each service that has several",
    }
)
def revision(
    _: Context,
    message: str,
    service: str | None = None,
    json: bool = False,
    drop: bool = False,
    merge: bool = False,
) -> None:
    """Autogenerate a migration of each service whose models have changed."""
    with databases(service, DEV, ()) as targets:
        written = {
            target.service.name: target.merge(message)
            if merge
            else target.autogenerate(message, drop=drop)
            for target in targets
        }
    for name, each in written.items():
        for note in each.notes:
            sys.stderr.write(f"{name}: {note}\n")
    lines = (
        str(each.file or f"nothing to write: the models and migrations of {name} agree")
        for name, each in written.items()
        if each.file or not each.notes
    )
    files = {name: each.file for name, each in written.items()}
    console.show(files, "\n".join(lines), json=json)


@task(
    positional=["name"],
    help={**HELP, "yes": DESTRUCTIVE_HELP["yes"], **which((DEV,)), "name": "snapshot name"},
)
def snapshot(
    _: Context,
    name: str,
    service: str | None = None,
    database: str | None = None,
    json: bool = False,
    yes: bool = False,
) -> None:
    """Save a copy of each database for `db.restore`."""
    keep = Action(
        "snapshot",
        "",
        lambda it, _: it.snapshot(name),
        alone=True,
        loses=lambda it: [f"the snapshot {name!r} that is there"] * it.has_snapshot(name),
    )
    with databases(service, database, (DEV,)) as targets:
        act(keep, targets, Options(json, yes, force=False))


@task(
    positional=["name"],
    help={
        **DESTRUCTIVE_HELP,
        "database": "dev, test or all; by default the one that the snapshot is of",
        "name": "name given to db.snapshot",
    },
)
def restore(
    _: Context,
    name: str,
    service: str | None = None,
    database: str | None = None,
    json: bool = False,
    yes: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> None:
    """Restore a snapshot made by `db.snapshot`."""
    back = destroying("restore", "", lambda it, force: it.restore(name, force=force))
    with databases(service, database, PURPOSES) as targets:
        chosen = targets if database else remembered(name, targets)
        act(back, chosen, Options(json, yes, force, dry_run))


@task(name="snapshots", help={**HELP, **which(PURPOSES)})
def show_snapshots(
    _: Context, service: str | None = None, database: str | None = None, json: bool = False
) -> None:
    """List the snapshots made by `db.snapshot`."""
    with databases(service, database, PURPOSES) as targets:
        found: list[dict[str, Any]] = [
            {"service": target.service.name, "database": target.purpose, **each._asdict()}
            for target in targets
            for each in target.snapshots()
        ]
    lines = (
        f"{each['label']}: {each['database']} of {each['service']},"
        f" made {each['made']}, {status.megabytes(each['size'])}"
        for each in found
    )
    console.show(found, "\n".join(lines) or "no snapshot", json=json)


@task(
    positional=["name"],
    help={
        **HELP,
        "yes": DESTRUCTIVE_HELP["yes"],
        "dry_run": DESTRUCTIVE_HELP["dry_run"],
        "database": "dev, test or all; by default the one that the snapshot is of",
        "name": "name given to db.snapshot",
    },
)
def discard(
    _: Context,
    name: str,
    service: str | None = None,
    database: str | None = None,
    json: bool = False,
    yes: bool = False,
    dry_run: bool = False,
) -> None:
    """Delete a snapshot made by `db.snapshot`."""
    gone = Action(
        "discard",
        "",
        lambda it, _: it.discard(name),
        loses=lambda it: [f"the snapshot {name!r}"] * it.has_snapshot(name),
    )
    with databases(service, database, PURPOSES) as targets:
        chosen = targets if database else remembered(name, targets)
        act(gone, chosen, Options(json, yes, dry_run=dry_run))


def remembered(name: str, targets: list[Database]) -> list[Database]:
    """Return the databases that have a snapshot of this name, at most one per service.

    Raises:
        ConfigurationError: no service has one, or several databases of a service have one.
    """
    there = [target for target in targets if target.has_snapshot(name)]
    if not there:
        of = ", ".join(dict.fromkeys(target.service.name for target in targets))
        raise ConfigurationError(f"there is no snapshot {name!r} of {of}", SNAPSHOTS)
    for service in dict.fromkeys(target.service for target in there):
        own = [target for target in there if target.service == service]
        if len(own) > 1:
            raise ConfigurationError(
                f"there are snapshots {name!r} of {' and of '.join(each.name for each in own)}",
                "--database dev or --database test",
            )
    return there


@task(
    help={
        "service": "service; may be omitted if there is only one",
        "database": "dev or test; by default dev",
    }
)
def shell(_: Context, service: str | None = None, database: str = DEV) -> None:
    """Open psql on a database; it runs what is piped into it."""
    with databases(service, database, ()) as targets:
        if len(targets) != 1:
            known = ", ".join(dict.fromkeys(each.service.name for each in targets)) or "none"
            fail(
                f"choose one database: --service, one of {known}, and --database dev or test",
                Code.CONFIGURATION,
            )
        targets[0].refuse_foreign()
        command, variables = targets[0].psql()
        environment = {**os.environ, **variables}
        os.execve(command[0], command, environment)  # noqa: S606 - psql replaces this process


@task(
    help={
        "redis_database": "number of a Redis database to empty, even of foreign keys",
        "yes": DESTRUCTIVE_HELP["yes"],
        "json": HELP["json"],
    }
)
def gc(
    _: Context, redis_database: int | None = None, yes: bool = False, json: bool = False
) -> None:
    """Drop leftovers of crashed runs, and stale templates."""
    chosen, uses_redis = settings.load(), redis_database is not None
    # A shared Redis may have leftovers; in Docker each run has its own.
    with suppress(StrataError):
        uses_redis = uses_redis or servers.choose(chosen, "redis")[0] != "docker"
    dropped, left = [], []
    with servers.lease(chosen, ("postgres",), persistent=True) as up:
        dropped += runs.prune(up["postgres"].url)
    if uses_redis:
        with servers.lease(chosen, ("redis",)) as up:
            address = up["redis"].url
            swept, of_dead = redis_databases.sweep(address)
            if redis_database is not None:
                discarded = redis_databases.discard(
                    address,
                    redis_database,
                    lambda what: None if yes else console.confirm(f"delete the {what}", "--yes"),
                )
                swept += [discarded] if discarded else []
            dropped += swept
            left += of_dead + redis_databases.unmarked(address)
    lines = [f"dropped {name}" for name in dropped] + left
    told = {"action": "gc", "dropped": dropped, "left": left}
    console.show(told, "\n".join(lines) or "nothing to drop", json=json)


db = Collection(
    "db",
    *(make(action) for action in ACTIONS),
    show_status,
    show_verdict,
    revision,
    snapshot,
    show_snapshots,
    restore,
    discard,
    shell,
    gc,
)
