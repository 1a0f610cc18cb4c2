"""Create the tables of teams, users, API keys, model aliases and quotas."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# In the order of their foreign keys.
TABLES = ("teams", "users", "api_keys", "model_aliases", "model_alias_versions", "quotas")
SEARCHED = {
    "teams": ["name"],
    "users": ["email"],
    "api_keys": ["name", "prefix"],
    "model_aliases": ["alias"],
}


def upgrade() -> None:
    """Apply the migration."""
    op.create_table(
        "teams",
        *stored("teams"),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("budget_cents", sa.Integer, nullable=False, server_default="0"),
        sa.Column("spent_microcents", sa.BigInteger, nullable=False, server_default="0"),
        sa.UniqueConstraint("name", name=op.f("uq_teams_name")),
        not_negative("teams", "budget_cents"),
        not_negative("teams", "spent_microcents"),
    )
    op.create_table(
        "users",
        *stored("users"),
        *belongs("users", "team_id", to="teams"),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("role", sa.Text, nullable=False, server_default="member"),
        sa.Column("password_hash", sa.Text),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.CheckConstraint("role IN ('member', 'admin')", name=op.f("ck_users_role_known")),
    )
    op.create_table(
        "api_keys",
        *stored("api_keys"),
        *belongs("api_keys", "team_id", to="teams"),
        *belongs("api_keys", "user_id", to="users"),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
    )
    op.create_table(
        "model_aliases",
        *stored("model_aliases"),
        *belongs("model_aliases", "team_id", to="teams"),
        *aliased(),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.UniqueConstraint("team_id", "alias", name=op.f("uq_model_aliases_team_id_alias")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_model_aliases_version_positive")),
    )
    op.create_table(
        "model_alias_versions",
        *belongs("model_alias_versions", "alias_id", to="model_aliases"),
        sa.Column("version", sa.Integer, nullable=False),
        *aliased(),
        timestamp("created_at"),
        sa.PrimaryKeyConstraint("alias_id", "version", name=op.f("pk_model_alias_versions")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_model_alias_versions_version_positive")),
    )
    op.create_table(
        "quotas",
        *stored("quotas"),
        *belongs("quotas", "team_id", to="teams"),
        sa.Column("requests_per_minute", sa.Integer, nullable=False),
        sa.Column("tokens_per_minute", sa.Integer, nullable=False),
        sa.UniqueConstraint("team_id", name=op.f("uq_quotas_team_id")),
        not_negative("quotas", "requests_per_minute"),
        not_negative("quotas", "tokens_per_minute"),
    )
    create_indexes()


def create_indexes() -> None:
    """Create the indexes for lists and searches; unique constraints have their own."""
    for table in TABLES:
        if table != "model_alias_versions":
            op.create_index(op.f(f"ix_{table}_created_at_id"), table, ["created_at", "id"])
    for table, owner in (("users", "team_id"), ("api_keys", "team_id"), ("api_keys", "user_id")):
        name = op.f(f"ix_{table}_{owner}_created_at_id")
        op.create_index(name, table, [owner, "created_at", "id"])
    for table, columns in SEARCHED.items():
        for column in columns:
            lowered = sa.text(f"lower({column}) text_pattern_ops")
            op.create_index(f"ix_{table}_{column}_search", table, [lowered])
    name = op.f("ix_model_aliases_tags")
    op.create_index(name, "model_aliases", ["tags"], postgresql_using="gin")


def downgrade() -> None:
    """Revert the migration."""
    for table in reversed(TABLES):
        op.drop_table(table)


def stored(table: str) -> list[sa.schema.SchemaItem]:
    """Return the columns of every entity."""
    return [
        sa.Column("id", sa.Uuid, nullable=False, server_default=sa.func.gen_random_uuid()),
        timestamp("created_at"),
        timestamp("updated_at"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def aliased() -> list[sa.schema.SchemaItem]:
    """Return the columns that an alias and its versions have in common."""
    return [
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        sa.Column("parameters", postgresql.JSONB, nullable=False, server_default="{}"),
    ]


def timestamp(name: str) -> sa.Column[object]:
    """Return a column for the time at which the row was written."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def belongs(table: str, column: str, *, to: str) -> list[sa.schema.SchemaItem]:
    """Return a column with a foreign key to the owner of a row; deletes cascade."""
    name = op.f(f"fk_{table}_{column}")
    return [
        sa.Column(column, sa.Uuid, nullable=False),
        sa.ForeignKeyConstraint([column], [f"{to}.id"], name=name, ondelete="CASCADE"),
    ]


def not_negative(table: str, column: str) -> sa.CheckConstraint:
    """Return the constraint that a column is not negative."""
    return sa.CheckConstraint(f"{column} >= 0", name=op.f(f"ck_{table}_{column}_not_negative"))
