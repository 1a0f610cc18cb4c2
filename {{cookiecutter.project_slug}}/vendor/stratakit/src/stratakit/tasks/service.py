"""`invoke service.*`: add, remove, run and list services."""

import os
import sys
from typing import Any

from invoke.collection import Collection
from invoke.context import Context

from .. import downloads, environment, project, pyproject, tiers
from ..database import guards
from ..scaffold import rename as renaming
from ..scaffold import services as scaffold
from ..stack import launch
from ..stack.health import DOCS
from . import console
from .executor import task

JSON = "print JSON"


@task(
    help={
        "name": "kebab-case, at most 20 characters, such as billing",
        "resource": "its resource, singular and snake_case, such as line_item",
        "dry_run": "print the files and change nothing; all checks are made",
        "json": JSON,
    }
)
def add(_: Context, name: str, resource: str, dry_run: bool = False, json: bool = False) -> None:
    """Add a service from the template of the project, and lock it."""
    with console.progress(f"bake and lock services/{name}", quiet=json):
        files = scaffold.add(name, resource, dry_run=dry_run)
    if json:
        console.write_json({"action": "add", "dry_run": dry_run, "files": files})
    elif dry_run:
        console.say("\n".join(files))
    else:
        console.say(
            f"services/{name} is there: {len(files)} files, not in git yet. Next:\n"
            f'  uv run nox -s "unit({name})" "integration({name})"\n'
            "  uv run invoke setup"
        )


@task(
    positional=["name"],
    help={
        "name": "service name",
        "yes": "do not ask for confirmation",
        "force": "even if uncommitted changes are lost or its database is in use",
        "dry_run": "print what would be removed and change nothing",
    },
)
def remove(
    _: Context, name: str, yes: bool = False, force: bool = False, dry_run: bool = False
) -> None:
    """Remove a service, its environment and its databases."""
    service = project.service(name)
    if not force:
        scaffold.refuse_uncommitted(service)
    with scaffold.databases(service) as databases:
        found = [each.inspect() for each in databases]
        for it in found:
            guards.check(it, force=force, rules=guards.DESTROYING)
        snapshots = [(each, kept.label) for each in databases for kept in each.snapshots()]
        # `discard` checks this too, but only after the service is removed.
        for each, label in snapshots:
            guards.check(each.inspect(label), force=True, rules=guards.DESTROYING)
        folders = (service.path, *environment.all_of(service))
        gone = [str(each.relative_to(pyproject.ROOT)) for each in folders if each.exists()]
        gone += [f"the database {it}" for it in found if it.exists]
        gone += [f"the snapshot {label!r} of {each.name}" for each, label in snapshots]
        console.say("\n".join(f"remove {each}" for each in gone))
        if dry_run:
            return
        if not yes:
            console.confirm(f"remove the service {name}", "--yes")
        with console.progress(f"remove {name} and lock without it"):
            scaffold.remove(service)
            for each, label in snapshots:
                each.discard(label)
            for each in databases:
                each.drop(force=force)


@task(
    positional=["old", "new"],
    help={
        "old": "service name",
        "new": "kebab-case, at most 20 characters",
        "dry_run": "print what would be renamed and change nothing; all checks are made",
    },
)
def rename(_: Context, old: str, new: str, dry_run: bool = False) -> None:
    """Rename a service: folder, package, settings, databases and all mentions."""
    plan = renaming.plan(old, new)
    with renaming.prepared(plan) as databases:
        files = sorted(str(each.relative_to(pyproject.ROOT)) for each in plan.texts)
        moved = [f"services/{old}: services/{new}"] if files else []
        for before, after in databases:
            moved += [f"the database {before.name}: {after.name}"] * before.exists()
            moved += [
                f"the snapshot {each.label!r} of {before.name}: of {after.name}"
                for each in before.snapshots()
            ]
        console.say("\n".join([*moved, *files]) or "there is nothing to rename on this machine")
        if not dry_run:
            with console.progress(f"rename {old} and lock"):
                renaming.carry_out(plan, databases)
    if plan.left:
        console.say("These lines still have the old name; check by hand:\n" + "\n".join(plan.left))
    if files and not dry_run:
        console.say(
            "Next:\n  uv run invoke setup\n"
            f'  uv run nox -s static "unit({new})" "integration({new})"\n'
            "Other developers run the same command after pulling your commit, to rename what their"
            " machines keep."
        )


@task(
    positional=["name"],
    help={
        "name": "service name",
        "reload": "restart it when its code or a library in libs/ changes",
        "port": "listen on this port instead of its own",
    },
)
def run(_: Context, name: str, reload: bool = False, port: int | None = None) -> None:
    """Run one service in the foreground; its servers stay up until stack.down."""
    what = launch(project.service(name), port=port, reload=reload)
    console.say(f"{name}: {what.url} and {what.url}{DOCS}; Ctrl-C ends it")
    sys.stdout.flush()
    os.chdir(pyproject.ROOT)
    # It replaces this process: signals such as Ctrl-C reach it, and its exit code is ours.
    os.execve(what.command[0], what.command, what.environment)  # noqa: S606 - no shell is needed


@task(
    positional=["name"],
    help={
        "name": "file name in [tool.stratakit.service.downloads] of a service",
        "service": "service, if several have a file of this name",
    },
)
def download(_: Context, name: str, service: str | None = None) -> None:
    """Download a large file of a service and verify its checksum."""
    wanted = downloads.find(name, [project.service(service)] if service else project.services())
    target = wanted.target.relative_to(pyproject.ROOT)
    if wanted.there:
        console.say(f"{target} already downloaded (checksum matches)")
        return
    with console.progress(f"download {target}"):
        wanted.fetch()


@task(name="list", help={"json": JSON})
def show_list(_: Context, json: bool = False) -> None:
    """List the services: port, needs and tiers with tests."""
    found: list[dict[str, Any]] = [
        {
            "name": each.name,
            "path": each.path.relative_to(pyproject.ROOT).as_posix(),
            "package": each.package,
            "port": each.port,
            "needs": each.needs,
            "tests": {
                tier.name: bool(tier.found(each.path))
                for tier in tiers.load()
                if tier.scope in each.scopes
            },
        }
        for each in project.services()
    ]
    if json:
        console.write_json(found)
        return
    head = ("name", "path", "package", "port", "needs", "tests")
    rows = [
        (
            each["name"],
            each["path"],
            each["package"],
            each["port"] or "none",
            ", ".join(each["needs"]) or "nothing",
            ", ".join(tier for tier, there in each["tests"].items() if there) or "none",
        )
        for each in found
    ]
    console.say(console.table(head, rows))


service = Collection("service", add, rename, remove, run, download, show_list)
