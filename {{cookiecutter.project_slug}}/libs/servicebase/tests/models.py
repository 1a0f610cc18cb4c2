"""The table in which notes are kept, with a constraint of each kind."""

from typing import ClassVar
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    MetaData,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from servicebase.postgres_repository import PostgresRepository
from servicebase.tables import NAMING, TYPES, Stored

from . import notes


class Base(DeclarativeBase):
    """What all have in common."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = TYPES


class NoteRow(Stored, Base):
    """A note, on another one or on none."""

    __tablename__ = "notes"

    name: Mapped[str] = mapped_column(String(9), unique=True)
    quantity: Mapped[int] = mapped_column(server_default="0")
    attributes: Mapped[dict[str, object]] = mapped_column(server_default="{}")
    tags: Mapped[list[str]] = mapped_column(server_default="{}")
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("notes.id"))

    __table_args__ = (
        CheckConstraint("quantity >= 0", "quantity_not_negative", info={"field": "quantity"}),
        CheckConstraint("quantity <> 99", "not_for_clients"),
        UniqueConstraint("parent_id", "quantity"),
        Index(None, "parent_id", "tags", unique=True),
    )


class PostgresNotes(PostgresRepository[notes.NewNote, notes.Note, notes.NoteChanges, NoteRow]):
    """Keeps them in a table."""

    row = NoteRow
    name = "note"

    def entity(self, row: NoteRow) -> notes.Note:
        """Return what a row is to the domain."""
        return notes.Note(
            id=row.id,
            name=row.name,
            quantity=row.quantity,
            attributes=row.attributes,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def matches(self, search: str) -> ColumnElement[bool]:
        """Return whether the name begins with `search`."""
        return NoteRow.name.ilike(f"{search}%")
