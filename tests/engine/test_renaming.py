"""Renaming or removing a service's data on this machine: all or nothing (for files: tests/bake)."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from invoke.context import Context

from stratakit import database, project, servers, settings
from stratakit.database import dev, stamps
from stratakit.database.lifecycle import Database
from stratakit.errors import ConfigurationError
from stratakit.scaffold import rename, services
from stratakit.stack import service_env
from stratakit.tasks import service as tasks


def test_dotenv_stays_unchanged_if_secrets_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv, secrets = tmp_path / ".env", tmp_path / "secrets.json"
    monkeypatch.setattr(service_env, "FILE", dotenv)
    monkeypatch.setattr(service_env, "secrets_file", lambda: secrets)
    old = project.services()[0]
    before = f"{old.prefix}PORT=8001\nOTHER=1\n"
    dotenv.write_text(before)
    secrets.mkdir()
    plan = rename.Plan(old, replace(old, name="billing", package="billing"), {}, ())
    with pytest.raises(IsADirectoryError):
        rename.carry_out(plan, [])
    assert dotenv.read_text() == before


@pytest.fixture
def renamed() -> Iterator[tuple[Database, Database]]:
    """A database with a snapshot, and the database that it is renamed to."""
    service = project.services()[0]
    with servers.lease(settings.load(), ("postgres",)) as up:
        old, new = (
            Database(up["postgres"], replace(service, name=name), stamps.DEV)
            for name in ("billing", "ledger")
        )
        old.create()
        old.snapshot("one")
        yield old, new
        for each in (old, new):
            each.drop()
            for kept in each.snapshots():
                each.discard(kept.label)


def labels(it: Database) -> list[str]:
    return [each.label for each in it.snapshots()]


def test_snapshots_are_renamed_with_their_database_and_back(
    renamed: tuple[Database, Database],
) -> None:
    old, new = renamed
    (made,) = (each.made for each in old.snapshots())
    dev.rename(old, new)
    assert (labels(old), [each.made for each in new.snapshots()]) == ([], [made])
    new.restore("one")
    dev.rename(new, old)
    assert (labels(old), labels(new)) == (["one"], [])
    old.discard("one")


def test_snapshots_of_a_dropped_database_are_renamed_as_well(
    renamed: tuple[Database, Database],
) -> None:
    old, new = renamed
    old.drop()
    dev.rename(old, new)
    assert (labels(old), labels(new), new.exists()) == ([], ["one"], False)
    new.restore("one")


def test_an_interrupted_rename_of_a_snapshot_is_rolled_back(
    renamed: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = renamed
    stamp = stamps.write

    def fail(connection: database.Connection, name: str, purpose: str, owner: str) -> None:
        stamp(connection, name, purpose, owner)
        if name == new.copy_name("one"):
            raise KeyboardInterrupt

    monkeypatch.setattr(stamps, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        dev.rename(old, new)
    assert (old.exists(), labels(old), new.exists(), labels(new)) == (True, ["one"], False, [])
    old.restore("one")


def test_a_rename_is_refused_if_a_snapshot_with_the_new_name_exists(
    renamed: tuple[Database, Database],
) -> None:
    old, new = renamed
    new.create()
    new.snapshot("one")
    new.drop()
    with pytest.raises(ConfigurationError, match=f"there is a database {new.copy_name('one')}"):
        dev.rename(old, new)
    assert (old.exists(), labels(old), labels(new)) == (True, ["one"], ["one"])


def test_a_service_is_not_removed_if_one_of_its_snapshots_may_not_be_dropped(
    renamed: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    it, _ = renamed
    gone: list[project.Service] = []
    monkeypatch.setattr(services, "databases", lambda _: nullcontext([it]))
    monkeypatch.setattr(services, "remove", gone.append)
    with database.connect(it.server.url) as admin:
        copy = it.copy_name("one")
        admin.execute(f"ALTER DATABASE {copy} SET {stamps.STAMP} = 'production'")
        try:
            with pytest.raises(ConfigurationError, match=f"{copy} .* is stamped as production"):
                tasks.remove.body(Context(), project.services()[0].name, yes=True, force=True)
        finally:
            stamps.write(admin, copy, it.purpose, it.owner)
    assert (gone, it.exists(), labels(it)) == ([], True, ["one"])
