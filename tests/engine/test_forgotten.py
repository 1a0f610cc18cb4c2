"""Models without a migration, reported once before the tests that would fail because of them."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stratakit import environment, pyproject
from stratakit import project as projects
from stratakit.database import migrations
from stratakit.schema import verify
from stratakit.schema_tests import catalog
from stratakit.testing import resources

from .scratch import Outcome, Scratch

TESTS = "def test_one(postgres_url: str) -> None: ...\n"
COLUMN = "    colour: Mapped[str] = mapped_column()\n"
PARTS = """
        Index(None, "quantity"),
        CheckConstraint("quantity < 9000", "quantity_small"),
        UniqueConstraint("name", "quantity"),"""
TABLE = '\n\nclass Crate(Stored, Base):\n    """A crate."""\n\n    __tablename__ = "crates"\n'
PLACE = "    __table_args__ = ("
DEFAULT = 'server_default="0"'
MISSING = (
    "missing table column public.items.colour",
    "missing table public.crates",
    "missing index public.ix_items_quantity",
    "missing table constraint ck_items_quantity_small on public.items",
    "missing table constraint uq_items_name_quantity on public.items",
    "changed table column public.items.quantity",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    with Scratch(tmp_path_factory.mktemp("forgotten")) as scratch:
        (scratch.tests / "test_one.py").write_text(TESTS)
        yield scratch


def test_a_forgotten_migration_is_reported_once_and_no_test_is_run(project: Scratch) -> None:
    (models,) = project.root.glob("services/*/src/*/models.py")
    text, before = models.read_text(), {*project.migrations.iterdir()}
    first = asked(project)
    assert first.code == 0, first.said
    assert "1 passed" in first.said
    try:
        changed = text.replace(PLACE, COLUMN + PLACE + PARTS).replace(DEFAULT, 'server_default="1"')
        changed = changed.replace("MetaData, String", "MetaData, String, UniqueConstraint")
        models.write_text(changed + TABLE)
        outcome = asked(project)
        for line in MISSING:
            assert outcome.said.count(line) == 1, outcome.said
        assert outcome.code == 1
        assert "passed" not in outcome.said
        assert "hint: uv run invoke db.revision --message" in outcome.said
        assert len(outcome.said.splitlines()) < 40
        project.green("db.revision", "-m", "colours and crates")
        assert asked(project).code == 0
    finally:
        models.write_text(text)
        for file in {*project.migrations.glob("*.py")} - before:
            file.unlink()


def test_models_that_cannot_be_created_record_no_pass(project: Scratch) -> None:
    (models,) = project.root.glob("services/*/src/*/models.py")
    text, stamps = models.read_text(), project.root / environment.PASSED.relative_to(pyproject.ROOT)
    fails = 'sa.event.listen(Base.metadata, "after_create", sa.DDL("SELECT nothing"))\n'
    assert asked(project).code == 0
    before = {each: each.read_text() for each in stamps.iterdir()}
    assert before
    try:
        models.write_text(f"{text}\n\nimport sqlalchemy as sa\n\n{fails}")
        outcome = asked(project)
    finally:
        models.write_text(text)
    assert outcome.code == 0, outcome.said
    assert {each: each.read_text() for each in stamps.iterdir()} == before


@pytest.fixture
def passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in which checks record their passes, without a server."""
    connections = SimpleNamespace(connect=nullcontext)
    monkeypatch.setattr(migrations, "engine_over", lambda _: connections)
    monkeypatch.setattr(environment, "PASSED", tmp_path)
    return tmp_path


def test_the_lent_check_and_the_full_check_record_their_passes_separately(
    passed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(catalog, "forgotten", lambda *_: order.append("less"))
    monkeypatch.setattr(verify, "forgotten", lambda *_: order.append("more") or [])
    service = projects.services()[0]
    for _ in range(2):
        resources._refuse_forgotten_in(service, None)
        resources._refuse_forgotten_of("", service, "")
    assert order == ["less", "more", "less"]
    monkeypatch.setattr(catalog, "forgotten", lambda *_: [])
    resources._refuse_forgotten_in(service, None)
    assert len([*passed.iterdir()]) == 2


def test_models_that_cannot_be_loaded_record_no_pass(passed: Path) -> None:
    service = replace(projects.services()[0], metadata="nowhere:metadata")
    assert catalog.forgotten(None, service) is None
    resources._refuse_forgotten_in(service, None)
    assert not [*passed.iterdir()]


def asked(project: Scratch) -> Outcome:
    return project.pytest(str(project.tests))
