"""The tables. migrations/ creates them; a test holds the two equal."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, MetaData, String, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from . import domain


class Base(DeclarativeBase):
    """What every table has in common."""

    # Without names of our own, neither a migration nor an error could tell constraints apart.
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        datetime: DateTime(timezone=True),
        dict[str, object]: JSONB,
        list[str]: ARRAY(Text),
    }


class {{ cookiecutter.__class }}Row(Base):
    """One {{ cookiecutter.resource }}."""

    __tablename__ = "{{ cookiecutter.__resources }}"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    name: Mapped[str] = mapped_column(String(domain.NAME_LENGTH), unique=True)
    quantity: Mapped[int] = mapped_column(server_default="0")
    tags: Mapped[list[str]] = mapped_column(server_default="{}")
    attributes: Mapped[dict[str, object]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Moved by each UPDATE that SQLAlchemy writes. A trigger would catch hand-written SQL as well,
    # but the metadata cannot hold one: nobody would see it missing from a migration.
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())

    __table_args__ = (
        # `info` tells the adapter which field a violation is about.
        CheckConstraint("quantity >= 0", "quantity_not_negative", info={"field": "quantity"}),
        # The order of a list, and so the way to each of its pages.
        Index(None, "created_at", "id"),
        # Search by the beginning of a name: in most locales LIKE can use no other kind of index.
        Index(
            "ix_{{ cookiecutter.__resources }}_search",
            func.lower(name).label("lower_name"),
            postgresql_ops={"lower_name": "text_pattern_ops"},
        ),
        Index(None, "tags", postgresql_using="gin"),
    )
