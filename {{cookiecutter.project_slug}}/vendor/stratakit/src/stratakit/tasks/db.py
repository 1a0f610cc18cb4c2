"""`invoke db.*`: the test databases of the services, one for each."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from invoke.collection import Collection
from invoke.context import Context

from .. import graph, redis_databases, servers, settings
from ..database import guards, runs, status
from ..database.lifecycle import Database
from ..errors import Code, StrataError
from . import console
from .executor import TypedTask, fail, task

HELP = {
    "service": "only this one; by default every service that needs PostgreSQL",
    "json": "print JSON",
}
DESTRUCTIVE_HELP = {
    **HELP,
    "yes": "do not ask",
    "force": "throw out whoever else is connected",
    "dry_run": "print what would be touched, and touch nothing",
}


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do to a database; `does` is what a person reads in the list of actions."""

    verb: str
    does: str
    do: Callable[[Database, bool], object]
    """Is given the database, and whether others who are connected to it may be thrown out."""
    destroys: bool = False


ACTIONS = (
    Action("setup", "Create, migrate and seed; what is there stays.", lambda it, _: it.setup()),
    Action("create", "Create, empty.", lambda it, _: it.create()),
    Action("migrate", "Bring to the newest revision.", lambda it, _: it.migrate()),
    Action("seed", "Run the seeds/*.sql of the service.", lambda it, _: it.seed()),
    Action("drop", "Drop.", lambda it, force: it.drop(force=force), destroys=True),
    Action(
        "reset",
        "Give the state of a new setup.",
        lambda it, force: it.reset(force=force),
        destroys=True,
    ),
    Action(
        "clean",
        "Delete all rows but those that migrations have written.",
        lambda it, force: it.clean(force=force),
        destroys=True,
    ),
    Action(
        "rollback",
        "Take the newest migration back.",
        lambda it, force: it.rollback(force=force),
        destroys=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Options:
    """How a person wants an action to be done."""

    json: bool = False
    yes: bool = True
    force: bool = True
    dry_run: bool = False


def make(action: Action) -> TypedTask:
    """Return the task of an action."""

    def change(_: Context, service: str | None = None, json: bool = False) -> None:
        act(action, service, Options(json))

    def destroy(
        _: Context,
        service: str | None = None,
        json: bool = False,
        yes: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> None:
        act(action, service, Options(json, yes, force, dry_run))

    body, described = (destroy, DESTRUCTIVE_HELP) if action.destroys else (change, HELP)
    body.__name__, body.__doc__ = action.verb, action.does
    return task(name=action.verb, help=described, default=action is ACTIONS[0])(body)


def act(action: Action, service: str | None, manner: Options) -> None:
    """Do something to each database, once it is clear to which and that it may be done.

    Raises:
        ConfigurationError: it may not be done to one of them, or nobody agreed. None was touched.
    """
    results: dict[str, object] = {}
    with databases(service) as targets:
        found = [target.inspect() for target in targets]
        for each in found:
            if action.destroys:
                console.say(f"{action.verb} {each}", quiet=manner.json)
            rules = guards.DESTROYING if action.destroys else guards.RULES
            guards.check(each, force=manner.force, rules=rules)
        if not (manner.dry_run or manner.yes or all(each.owned for each in found)):
            names = ", ".join(each.name for each in found)
            console.confirm(f"{action.verb} {names} on {found[0].host}", "--yes")
        for target in [] if manner.dry_run else targets:
            with console.progress(f"{action.verb} {target.name}", quiet=manner.json):
                results[target.service.name] = action.do(target, manner.force)
    if manner.json:
        done = {"action": action.verb, "dry_run": manner.dry_run, "services": results}
        console.write_json(done)


@contextmanager
def databases(service: str | None) -> Iterator[list[Database]]:
    """Yield the test databases of one service or of all, on a server that stays up afterwards."""
    chosen = [graph.service(service)] if service else graph.services()
    with servers.lease(settings.load(), ("postgres",), persistent=True) as up:
        yield [Database(up["postgres"], each) for each in chosen if "postgres" in each.needs]


@task(name="status", help=HELP)
def show_status(_: Context, service: str | None = None, json: bool = False) -> None:
    """Say what is there: server, owner, size, revision against the code's, rows."""
    with databases(service) as targets:
        found = [status.status(target) for target in targets]
    if json:
        console.write_json([each.as_dict() for each in found])
    else:
        console.say("\n".join(str(each) for each in found))


@task(name="verify", help=HELP)
def show_verdict(_: Context, service: str | None = None, json: bool = False) -> None:
    """Return whether migrations, models and database agree; exit with 1 where they do not."""
    # Not imported before it is needed: Alembic takes 0.3 s.
    from .. import verify

    with databases(service) as targets:
        for target in targets:
            target.refuse_foreign()
        answers = {
            target.service.name: verify.verify(
                target.server.url, target.service, target.name if target.exists() else None
            )
            for target in targets
        }
    if json:
        console.write_json({name: verify.as_json(checks) for name, checks in answers.items()})
    else:
        for name, checks in answers.items():
            console.say(f"{name}\n{verify.table(checks)}")
    wrong = [
        f"{name}: {check.name}"
        for name, checks in answers.items()
        for check in checks
        if check.passed is False
    ]
    if wrong:
        fail(f"not as it should be: {', '.join(wrong)}")


@task(help={**HELP, "message": "what it does, for its name"})
def revision(_: Context, message: str, service: str | None = None, json: bool = False) -> None:
    """Write a migration from what the models have and the migrations have not."""
    with databases(service) as targets:
        files = {target.service.name: str(target.revise(message)) for target in targets}
    if json:
        console.write_json(files)
    else:
        console.say("\n".join(files.values()))


@task(positional=["name"], help={**HELP, "name": "under which to find it again"})
def snapshot(_: Context, name: str, service: str | None = None, json: bool = False) -> None:
    """Keep a copy of the data, for `db.restore`."""
    keep = Action("snapshot", "", lambda it, _: it.snapshot(name))
    act(keep, service, Options(json))


@task(positional=["name"], help={**DESTRUCTIVE_HELP, "name": "as it was given to db.snapshot"})
def restore(
    _: Context,
    name: str,
    service: str | None = None,
    json: bool = False,
    yes: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> None:
    """Give the state that was kept by `db.snapshot`."""
    back = Action("restore", "", lambda it, force: it.restore(name, force=force), destroys=True)
    act(back, service, Options(json, yes, force, dry_run))


@task(help={"service": "whose database; it may be left out where there is only one"})
def shell(_: Context, service: str | None = None) -> None:
    """Open psql."""
    with databases(service) as targets:
        if len(targets) != 1:
            known = ", ".join(target.service.name for target in targets) or "none"
            fail(f"say whose database: --service, one of {known}", Code.CONFIGURATION)
        targets[0].refuse_foreign()
        command, variables = targets[0].psql()
        environment = {**os.environ, **variables}
        os.execve(command[0], command, environment)  # noqa: S606 - the shell takes our place


@task(
    help={
        "redis_database": "number of a Redis database to empty as well, whoever has written to it",
        "yes": DESTRUCTIVE_HELP["yes"],
        "json": HELP["json"],
    }
)
def gc(
    _: Context, redis_database: int | None = None, yes: bool = False, json: bool = False
) -> None:
    """Drop what dead runs have left, and templates that nothing has used for long."""
    chosen = settings.load()
    dropped, left = [], []
    with servers.lease(chosen, ("postgres",), persistent=True) as up:
        dropped += runs.collect(up["postgres"].url)
    if redis_database is not None or _keeps_redis(chosen):
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
    if json:
        console.write_json({"action": "gc", "dropped": dropped, "left": left})
    else:
        said = [f"dropped {name}" for name in dropped] + left
        console.say("\n".join(said) or "nothing to drop")


def _keeps_redis(chosen: settings.Settings) -> bool:
    """Return whether runs use a Redis that others may have used; in Docker each has its own."""
    try:
        return servers.choose(chosen, "redis")[0] != "docker"
    except StrataError:
        return False


db = Collection(
    "db",
    *(make(action) for action in ACTIONS),
    show_status,
    show_verdict,
    revision,
    snapshot,
    restore,
    shell,
    gc,
)
