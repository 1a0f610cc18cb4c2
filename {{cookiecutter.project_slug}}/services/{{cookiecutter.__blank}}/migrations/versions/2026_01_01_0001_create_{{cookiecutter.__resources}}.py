"""Create the table of {{ cookiecutter.__resources }}."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLE = "{{ cookiecutter.__resources }}"


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        TABLE,
        sa.Column("id", sa.Uuid, nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False, server_default="0"),
        sa.Column("tags", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        sa.Column("attributes", postgresql.JSONB, nullable=False, server_default="{}"),
        timestamp("created_at"),
        timestamp("updated_at"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{TABLE}")),
        sa.UniqueConstraint("name", name=op.f(f"uq_{TABLE}_name")),
        sa.CheckConstraint("quantity >= 0", name=op.f(f"ck_{TABLE}_quantity_not_negative")),
    )
    op.create_index(op.f(f"ix_{TABLE}_created_at_id"), TABLE, ["created_at", "id"])
    op.create_index(f"ix_{TABLE}_search", TABLE, [sa.text("lower(name) text_pattern_ops")])
    op.create_index(op.f(f"ix_{TABLE}_tags"), TABLE, ["tags"], postgresql_using="gin")


def downgrade() -> None:
    """Undo it."""
    op.drop_table(TABLE)


def timestamp(name: str) -> sa.Column[object]:
    """Return a column for the time at which the row was written."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
