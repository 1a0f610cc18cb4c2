"""Reserve budgets in a table of reservations."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply the migration."""
    op.create_table(
        "reservations",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("team_id", sa.Uuid, nullable=False),
        sa.Column("microcents", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservations")),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_reservations_team_id"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("microcents >= 0", name=op.f("ck_reservations_microcents_not_negative")),
    )
    for column in ("team_id", "expires_at"):
        op.create_index(op.f(f"ix_reservations_{column}"), "reservations", [column])


def downgrade() -> None:
    """Revert the migration."""
    op.drop_table("reservations")
