"""Tables. migrations/ creates them; a test checks that both are equal."""

from typing import ClassVar

from sqlalchemy import CheckConstraint, Index, MetaData, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from servicebase.tables import NAMING, TYPES, Stored

from . import domain


class Base(DeclarativeBase):
    """Base of all models."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = TYPES


class {{ cookiecutter.__class }}Row(Stored, Base):
    """Table of {{ cookiecutter.__resources }}."""

    __tablename__ = "{{ cookiecutter.__resources }}"

    name: Mapped[str] = mapped_column(String(domain.NAME_LENGTH), unique=True)
    quantity: Mapped[int] = mapped_column(server_default="0")
    tags: Mapped[tuple[str, ...]] = mapped_column(server_default="{}")
    attributes: Mapped[dict[str, object]] = mapped_column(server_default="{}")

    __table_args__ = (
        # `info` tells the adapter which field a violation is about.
        CheckConstraint("quantity >= 0", "quantity_not_negative", info={"field": "quantity"}),
        # The order of lists and cursors.
        Index(None, "created_at", "id"),
        # Search by the beginning of a name: in most locales LIKE can only use this kind of index.
        Index(
            "ix_{{ cookiecutter.__resources }}_search",
            func.lower(name).label("lower_name"),
            postgresql_ops={"lower_name": "text_pattern_ops"},
        ),
        Index(None, "tags", postgresql_using="gin"),
    )
