"""What the tables of all services have in common."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

# Without names of our own, neither a migration nor an error could tell constraints apart.
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
    """The columns of everything that is stored."""

    metadata: ClassVar[MetaData]
    """Of the service's base class."""
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Moved by each UPDATE that SQLAlchemy writes. A trigger would catch hand-written SQL as well,
    # but the metadata cannot hold one: nobody would see it missing from a migration.
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
