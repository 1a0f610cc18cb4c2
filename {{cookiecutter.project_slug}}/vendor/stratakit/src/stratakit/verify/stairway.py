"""Taking each revision up, down and up again, and looking at the schema in between."""

from collections.abc import Iterator

from alembic.script import Script

from .. import fingerprint
from ..database import MigrationError
from ..fingerprint import Facts
from .checks import Answer, failed, passed
from .context import Scratch, VerifyContext


def stairway(subject: VerifyContext) -> Iterator[Answer]:
    """Does each revision go up, down without a trace, and up again to the same?"""
    chain = subject.revisions.chain
    stairs = subject.scratch()
    before = stairs.facts()
    sound = True
    for number, revision in enumerate(chain, 1):
        try:
            subject.revisions.take(stairs.connection, revision)
        except MigrationError as error:
            yield failed(f"{_label(revision)} does not go up: {error.message}")
            return
        after = subject.reached[chain[:number]] = stairs.facts()
        faults = list(_down_and_up(subject, stairs, revision, before, after))
        yield from faults
        if faults:
            sound = False
            # Whatever it left behind must not be laid at the next one's door.
            stairs = subject.scratch(chain[:number])
        before = after
    if sound:
        yield passed(f"up, down without a trace, up again: {len(chain)}")


def _down_and_up(
    subject: VerifyContext, stairs: Scratch, revision: Script, before: Facts, after: Facts
) -> Iterator[Answer]:
    steps = (
        (False, before, "does not go down", "does not restore the schema when it is reverted"),
        (True, after, "does not go up again", "gives another schema when it goes up again"),
    )
    for up, expected, fails, differs in steps:
        try:
            subject.revisions.take(stairs.connection, revision, up=up)
        except MigrationError as error:
            yield failed(f"{_label(revision)} {fails}: {error.message}")
            return
        differences = fingerprint.compare(expected, stairs.facts())
        if differences:
            yield failed(f"{_label(revision)} {differs}", differences)


def _label(script: Script) -> str:
    return f"{script.revision} ({script.doc})" if script.doc else script.revision
