"""Implementation of `invoke db.revision`: write a migration, try it, and report what it lacks.

The only source of truth is the schema that the models produce, as facts. Whatever still differs
from it after the migration was applied is written into the migration as a comment.
"""

import ast
import textwrap
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .. import database as databases
from .. import names
from ..database import MigrationError, migrations, runs
from ..project import Service
from . import fingerprint
from .directives import PARTS, Directives, Statement, circles, statements
from .fingerprint import Difference, Facts
from .revisions import Revisions
from .verify import Scratch, VerifyContext, compare, create_models, load_metadata

NOT_UP = "This does not go up as it is written:"
BY_HAND = "Alembic does not write these changes. Write them here, and their reversal below:"
NOT_BACK = "This does not restore the previous schema:"
LEFT = "left as it is, since no model has it (--drop drops tables and their parts): {}"
WIDTH = 90
"""Maximum width of a comment."""
LINES = 12
"""Maximum number of lines of a definition in a comment."""


@dataclass(frozen=True, slots=True)
class Written:
    """Result of comparing models and migrations."""

    file: Path | None
    """The migration; None if there was nothing to write."""
    notes: Sequence[str] = ()
    """Differences that it does not resolve."""


def write(server: str, service: Service, message: str, *, drop: bool = False) -> Written:
    """Write a migration for what the models have and the migrations lack.

    Args:
        server: a server on which databases may be created.
        service: the service that the models belong to.
        message: a short description of the migration.
        drop: whether to drop what no model has.

    Raises:
        MigrationError: the models and the migrations cannot be compared, or the migration that was
            written does not go up.
        InfrastructureError: the role may not create databases, or the server fails.
    """
    if fork := migrations.position(service, "", ()).fork:
        raise MigrationError(*fork)
    with databases.run(server) as run, ExitStack() as stack:
        context = VerifyContext(server, service, None, run, stack)
        draft = Draft(context, message, drop)
        differing = draft.write()
        # Once more, with statements from PostgreSQL for what Alembic does not compare.
        if last := list(statements(differing, drop=drop)):
            differing = draft.write(last)
        if by_hand := [each for each in differing if each.change != "unexpected"]:
            draft.comment("upgrade", BY_HAND, by_hand)
        left = [f"{each.kind} {each.name}" for each in differing if each.change == "unexpected"]
        if left := left or draft.left:
            draft.notes.append(LEFT.format(", ".join(left)))
    if draft.file:
        migrations.format_file(draft.file)
    return Written(draft.file, draft.notes)


def merge(service: Service, message: str) -> Written:
    """Write a migration that joins all heads of a service's migrations.

    Raises:
        MigrationError: the migrations cannot be read.
    """
    file = migrations.merge(service, message)
    if file is None:
        return Written(None, ["nothing to merge: there is one head"])
    migrations.format_file(file)
    return Written(file)


@dataclass
class Draft:
    """A migration that is written, tried, and rewritten."""

    context: VerifyContext
    message: str
    drop: bool
    file: Path | None = None
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Objects that no model has and that Alembic would have dropped."""
    problem: str | None = None
    """Reason why it cannot be compared with the models; None if it can."""
    _count: int = 0

    @cached_property
    def template(self) -> str:
        """Database with all existing migrations applied."""
        with databases.session(self.context.server) as connection:
            return runs.get_or_build_template(connection, self.context.service)

    @cached_property
    def wanted(self) -> Facts | None:
        """Schema that the models produce; None if they cannot be created."""
        try:
            metadata = load_metadata(self.context.service.metadata)
            return create_models(self.context, metadata, self._scratch().facts())
        except MigrationError as error:
            self.problem = error.message
            return None

    def write(self, last: Sequence[Statement] = ()) -> list[Difference]:
        """Write it, with statements that Alembic does not find; return what still differs.

        Raises:
            MigrationError: it cannot be written, or it does not go up.
        """
        if self.file:
            self.file.unlink()
        scratch = self._scratch()
        before, wanted = scratch.facts(), self.wanted
        self.notes = [f"not compared with the models: {self.problem}"] if self.problem else []
        differing = [] if wanted is None else compare(wanted, before)
        parts = [each for each in differing if each.change == "unexpected" and each.kind in PARTS]
        first = list(statements(parts, drop=self.drop))
        fill = Directives(wanted or {}, self.drop, first, last)
        self.file, self.left = self._add(scratch, fill), fill.left
        after = self._try(self.file, scratch, before) if self.file else before
        return [] if wanted is None else compare(wanted, after)

    def comment(self, function: str, heading: str, about: Sequence[object]) -> None:
        """Write a comment at the top of one of its functions, and add it to the notes."""
        if self.file is None:
            self.file = self._add(self._scratch(), None)
        if self.file:
            _comment(self.file, function, heading, about)
            self.notes.append("\n".join((f"{self.file}: {heading}", *map(str, about))))

    def _scratch(self) -> Scratch:
        self._count += 1
        name = names.database(self.context.run, f"draft{self._count}")
        return Scratch(self.context.server, name, self.context.stack, self.template)

    def _add(self, scratch: Scratch, fill: Directives | None) -> Path | None:
        with databases.connect(self.context.server, scratch.name) as own, circles():
            return migrations.add(own, self.context.service, self.message, fill)

    def _try(self, file: Path, scratch: Scratch, before: Facts) -> Facts:
        """Apply it and revert it; return the schema with it applied.

        Raises:
            MigrationError: it cannot be applied.
        """
        revisions = Revisions(self.context.service)
        script = next(each for each in revisions.chain if Path(each.path) == file)
        try:
            revisions.apply(scratch.connection, script)
        except MigrationError as error:
            _comment(file, "upgrade", NOT_UP, [error.message])
            migrations.format_file(file)
            raise MigrationError(
                f"{file} does not go up as it is written: {error.message}", f"finish {file}"
            ) from error
        after = scratch.facts()
        wrong: Sequence[object]
        try:
            revisions.apply(scratch.connection, script, up=False)
            wrong = fingerprint.compare(before, scratch.facts())
        except MigrationError as error:
            wrong = [error.message]
        if wrong:
            self.comment("downgrade", NOT_BACK, wrong)
        return after


def _comment(file: Path, function: str, heading: str, about: Sequence[object]) -> None:
    """Insert a comment at the beginning of a function in a migration."""
    lines = file.read_text(encoding="utf-8").splitlines()
    first = next(
        each.body[0]
        for each in ast.parse("\n".join(lines)).body
        if isinstance(each, ast.FunctionDef) and each.name == function
    )
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    place = (first.end_lineno or first.lineno) if documented else first.lineno - 1
    indent = " " * first.col_offset
    shown = [heading]
    for each in about:
        start, *rest = [line for line in str(each).splitlines() if line.strip()][:LINES]
        # The bar keeps linters from taking the lines for commented-out code.
        shown += [f"- {start}", *(f"  | {line.strip()}" for line in rest)]
    wrapped = [
        part for line in shown for part in textwrap.wrap(line, WIDTH, subsequent_indent="  | ")
    ]
    lines[place:place] = [f"{indent}# {line}" for line in wrapped]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
