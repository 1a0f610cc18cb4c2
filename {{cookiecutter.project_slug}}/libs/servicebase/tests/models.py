"""Table of notes, with a constraint of each kind."""

from typing import ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from servicebase.postgres_repository import PostgresRepository
from servicebase.tables import NAMING, TYPES, Stored

from .notes import NewNote, Note, NoteChanges


class Base(DeclarativeBase):
    """Base of the models."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = TYPES


class NoteRow(Stored, Base):
    """Note, on another one or on none."""

    __tablename__ = "notes"

    name: Mapped[str] = mapped_column(sa.String(9), unique=True)
    quantity: Mapped[int] = mapped_column(server_default="0")
    attributes: Mapped[dict[str, object]] = mapped_column(server_default="{}")
    tags: Mapped[tuple[str, ...]] = mapped_column(server_default="{}")
    parent_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("notes.id"))

    __table_args__ = (
        sa.CheckConstraint("quantity >= 0", "quantity_not_negative", info={"field": "quantity"}),
        sa.CheckConstraint("quantity <> 99", "not_for_clients"),
        sa.UniqueConstraint("parent_id", "quantity"),
        sa.Index(None, "parent_id", "tags", unique=True),
    )


class PostgresNotes(PostgresRepository[NewNote, Note, NoteChanges, NoteRow]):
    """Repository on PostgreSQL."""

    row = NoteRow
    kind = Note
    name = "note"

    def matches(self, search: str) -> sa.ColumnElement[bool]:
        """Return whether the name begins with `search`."""
        return NoteRow.name.ilike(f"{search}%")
