"""Two checkouts of a project, each with its own databases, servers and stack."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from stratakit import names
from stratakit.servers import checkout

from .scratch import Scratch

PRINT_MARK = "from stratakit.servers import checkout; print(checkout.mark())"
DEV_SERVER_RUNS = "from stratakit.servers import embedded; print(bool(embedded.find_running('postgres', kept=True)))"


@pytest.fixture
def clones(tmp_path: Path) -> Iterator[tuple[Scratch, Scratch]]:
    """Two clones, in the order in which they were made."""
    with ExitStack() as stack:
        first = stack.enter_context(Scratch(tmp_path / "first"))
        other = Scratch(tmp_path / "other", first.name)
        stack.callback(other.close)
        assert (mark(first), len(mark(other))) == ("", 6)
        yield first, other
        other.green("stack.down")


def mark(project: Scratch) -> str:
    outcome = project.python(PRINT_MARK)
    assert outcome.code == 0, outcome.said
    return outcome.out.strip()


def by_purpose(project: Scratch) -> dict[str, dict[str, object]]:
    found = project.green("db.status", "--json", "--database", "all").json
    return {each["purpose"]: each for each in found}


def test_a_second_clone_has_its_own_databases_and_leaves_those_of_the_first(
    clones: tuple[Scratch, Scratch],
) -> None:
    for each in clones:
        each.green("db.setup", "--database", "all")
    first, other = map(by_purpose, clones)
    assert first["dev"]["database"] == f"{clones[0].name}_{clones[0].service.name}_dev"
    assert (
        other["dev"]["database"]
        == f"{clones[0].name}_{clones[0].service.name}_{mark(clones[1])}_dev"
    )
    assert {each["checkout"] for each in other.values()} == {mark(clones[1])}
    assert mark(clones[1]) in clones[1].green("db.status", "--database", "dev").out
    clones[1].green("stack.clean", "--yes")
    assert clones[0].python(DEV_SERVER_RUNS).out.strip() == "True"
    assert by_purpose(clones[0]) == first


@contextmanager
def moved_away(clone: Scratch) -> Iterator[None]:
    """Move a clone to another folder for the length of a block."""
    folder = clone.root.with_name("moved")
    clone.root.rename(folder)
    try:
        yield
    finally:
        folder.rename(clone.root)


def test_moving_the_first_clone_away_and_back_changes_no_mark(
    clones: tuple[Scratch, Scratch],
) -> None:
    first, other = clones
    before = mark(other)
    with moved_away(first):
        assert mark(other) == before
    assert mark(first) == ""


def test_a_new_clone_becomes_the_first_once_that_is_gone_and_the_second_keeps_its_mark(
    clones: tuple[Scratch, Scratch], tmp_path: Path
) -> None:
    first, second = clones
    before = mark(second)
    with moved_away(first):
        with closing(Scratch(tmp_path / "third", first.name)) as third:
            assert mark(third) == ""
            assert mark(second) == before
        # The fixture needs the first to be the first again, as it is once the third is gone.
        shutil.rmtree(third.root)
    assert mark(first) == ""


def test_a_linked_worktree_is_distinguished_from_a_clone_and_a_submodule(tmp_path: Path) -> None:
    repository, linked = tmp_path / "repository", tmp_path / "linked"
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.com", "-C", str(repository))
    repository.mkdir()
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run([*git, "worktree", "add", "-q", str(linked)], check=True)
    (linked / "deep").mkdir()
    assert checkout.is_linked(linked / "deep")
    assert not checkout.is_linked(repository)
    module = tmp_path / "module"
    module.mkdir()
    (module / ".git").write_text("gitdir: ../.git/modules/worktrees-of-ours\n")
    assert not checkout.is_linked(module)


@pytest.mark.parametrize("mark_", ["", "0a1b2c"])
def test_the_recorded_owner_of_a_database_distinguishes_checkouts(mark_: str) -> None:
    said = names.owner("web-api", mark_)
    assert names.is_owner(said, mark_)
    assert not names.is_owner(said, "ffffff")
    assert names.is_owner(None, mark_) is (mark_ == "")
