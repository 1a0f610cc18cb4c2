"""Tables with a constraint of each kind, and the one in which notes are kept."""

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


class Shelf(Stored, Base):
    """What books are on."""

    __tablename__ = "shelves"

    name: Mapped[str] = mapped_column(String(9), unique=True)
    colour: Mapped[str] = mapped_column(server_default="red")
    attributes: Mapped[dict[str, object]] = mapped_column(server_default="{}")
    tags: Mapped[list[str]] = mapped_column(server_default="{}")

    __table_args__ = (
        CheckConstraint("colour <> 'grey'", "colour_not_grey", info={"field": "colour"}),
        CheckConstraint("colour <> 'none'", "not_for_clients"),
        Index(None, "colour", "tags", unique=True),
    )


class Book(Stored, Base):
    """What is on a shelf."""

    __tablename__ = "books"

    shelf_id: Mapped[UUID] = mapped_column(ForeignKey("shelves.id"))
    name: Mapped[str]

    __table_args__ = (UniqueConstraint("shelf_id", "name"),)


class NoteRow(Stored, Base):
    """A note."""

    __tablename__ = "notes"

    name: Mapped[str] = mapped_column(unique=True)
    quantity: Mapped[int]
    attributes: Mapped[dict[str, object]]


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
