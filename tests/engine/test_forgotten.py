"""Models that no migration has caught up with: told once, before the tests that they would fail."""

from collections.abc import Iterator

import pytest

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


def test_a_forgotten_migration_is_told_once_and_no_test_is_run(project: Scratch) -> None:
    (models,) = project.root.glob("services/*/src/*/models.py")
    text = models.read_text()
    first = asked(project)
    assert first.code == 0, first.said
    try:
        changed = text.replace(PLACE, COLUMN + PLACE + PARTS).replace(DEFAULT, 'server_default="1"')
        changed = changed.replace("MetaData, String", "MetaData, String, UniqueConstraint")
        models.write_text(changed + TABLE)
        outcome = asked(project)
        for line in MISSING:
            assert outcome.said.count(line) == 1, outcome.said
        assert outcome.code == 1
        assert "hint: uv run invoke db.revision --message" in outcome.said
        assert len(outcome.said.splitlines()) < 40
        project.green("db.revision", "-m", "colours and crates")
        assert asked(project).code == 0
    finally:
        models.write_text(text)


def asked(project: Scratch) -> Outcome:
    return project.pytest(str(project.tests))
