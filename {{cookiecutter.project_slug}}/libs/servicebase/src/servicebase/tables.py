"""Columns, types and naming shared by the tables of all services."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

# Without explicit names, neither migrations nor errors could tell constraints apart.
NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
"""The `naming_convention` of a service's metadata."""
TYPES = {
    datetime: DateTime(timezone=True),
    dict[str, object]: JSONB,
    list[str]: ARRAY(Text),
    tuple[str, ...]: ARRAY(Text, as_tuple=True),
}
"""The `type_annotation_map` of its base class."""


class Stored:
    """Columns of every table."""

    metadata: ClassVar[MetaData]
    """Metadata of the service's base class."""
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Set by each UPDATE that SQLAlchemy writes. A trigger would cover hand-written SQL too, but
    # metadata cannot hold one: a migration that lacks it would go unnoticed.
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
