"""`invoke stack.*`: services of the project, running on this machine."""

from functools import partial

from invoke.collection import Collection
from invoke.context import Context

from .. import limits, names, project
from .. import stack as running
from ..database.stamps import DEV
from ..errors import Code
from ..servers import checkout
from ..stack.health import DOCS, READY, State, Status
from . import console
from .executor import fail, task

SERVICE = {"service": "only this service, repeatable; default: all"}
JSON = {"json": "print JSON"}
TIMEOUT = {"timeout": "seconds to wait until healthy"}
HEAD = ("name", "state", "process", "url", "since", "why")


@task(iterable=["service"], help={**SERVICE, **TIMEOUT, **JSON})
def up(
    _: Context,
    service: list[str] | None = None,
    timeout: float = limits.HEALTH,
    json: bool = False,
) -> None:
    """Start services that are down or have changed, migrate, wait until healthy, print the URLs."""
    progress = partial(console.progress, quiet=json)
    _print_summary(running.up(service or [], timeout=timeout, progress=progress), json=json)


@task(iterable=["service"], help={**SERVICE, **TIMEOUT, **JSON})
def restart(
    _: Context,
    service: list[str] | None = None,
    timeout: float = limits.HEALTH,
    json: bool = False,
) -> None:
    """Restart services with their current code."""
    progress = partial(console.progress, quiet=json)
    _print_summary(running.restart(service or [], timeout=timeout, progress=progress), json=json)


@task(iterable=["service"], help=SERVICE)
def down(_: Context, service: list[str] | None = None) -> None:
    """Stop services; without --service the servers, too. Data is kept."""
    console.say("\n".join(running.down(service or [])) or "nothing was up")


@task(help=JSON)
def status(_: Context, json: bool = False) -> None:
    """Show the status of servers and services; exit 2 if one has crashed."""
    parts = running.show()
    if json:
        console.write_json(_json(parts))
    else:
        console.say(console.table(HEAD, [each.cells() for each in parts]))
    dead = [each.name for each in parts if each.state == State.DEAD]
    if dead:
        fail(
            f"dead: {', '.join(dead)}\n  hint: uv run invoke stack.logs, then stack.up",
            Code.INFRASTRUCTURE,
        )


@task(
    iterable=["service"],
    help={**SERVICE, "follow": "follow the logs until Ctrl-C", "lines": "lines of each service"},
)
def logs(
    _: Context, service: list[str] | None = None, follow: bool = False, lines: int = 100
) -> None:
    """Show the logs of services."""
    if follow:
        running.follow(service or [], lines=lines)
    for name, text in running.logs(service or [], lines=lines).items():
        console.say(f"==> {name} <==\n{text or '(nothing)'}")


@task(iterable=["service"], help={**SERVICE, **TIMEOUT, **JSON})
def wait(
    _: Context,
    service: list[str] | None = None,
    timeout: float = limits.HEALTH,
    json: bool = False,
) -> None:
    """Wait until services are healthy; exit 2 on timeout."""
    statuses = running.wait(service or [], timeout=timeout)
    if json:
        console.write_json(_json(statuses))
    else:
        console.say(_urls(statuses))


@task(
    help={
        "yes": "do not ask for confirmation",
        "dry_run": "print what would be deleted and change nothing",
    }
)
def clean(_: Context, yes: bool = False, dry_run: bool = False) -> None:
    """Delete the stack: containers, images, data and logs."""
    named = [each.name for each in project.services() if "postgres" in each.needs]
    kept = ", ".join(names.named(each, DEV, checkout.mark()) for each in named)
    what = f"delete all data of the stack; databases: {kept or 'none'}"
    if dry_run:
        console.say(what)
        return
    if not yes:
        console.confirm(what, "--yes")
    console.say("\n".join(running.clean()) or "nothing was there")


def _print_summary(done: running.UpResult, *, json: bool) -> None:
    if json:
        console.write_json(done.as_dict())
        return
    console.say(f"servers: {done.source} ({done.why})")
    changes = {"migrated": done.migrated, "started": done.started}
    said = [f"{verb} {', '.join(names)}" for verb, names in changes.items() if names]
    console.say("; ".join(said) or "everything was up already; nothing has changed")
    console.say(_urls(done.services))


def _urls(services: list[Status]) -> str:
    rows = [(each.name, each.url, f"{each.url}{DOCS}", f"{each.url}{READY}") for each in services]
    return console.table(("service", "url", "docs", "health"), rows)


def _json(statuses: list[Status]) -> list[dict[str, object]]:
    return [each.as_dict() for each in statuses]


stack = Collection("stack", up, down, status, logs, wait, restart, clean)
