"""A schema of thirteen tables with features that real teams use; Alembic can write most of them.

Objects that SQLAlchemy cannot express are at the end, as documented: statements that the metadata
runs after its tables are made, and a migration as `op.execute`.
"""

import datetime as dt
import enum
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from .shop import NAMING

AUDIT = "audit"
"""The second schema; the first is the default one."""


class Level(enum.Enum):
    BASIC = "basic"
    GOLD = "gold"


class Day(enum.Enum):
    MONDAY = "monday"
    SUNDAY = "sunday"


class Action(enum.Enum):
    CREATED = "created"
    DELETED = "deleted"


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {
        dt.datetime: sa.DateTime(timezone=True),
        dict[str, Any]: pg.JSONB,
        list[str]: pg.ARRAY(sa.Text),
        Level: sa.Enum(Level, name="level"),
        list[Day]: pg.ARRAY(sa.Enum(Day, name="day")),
        Action: sa.Enum(Action, name="action", schema=AUDIT),
    }


class Country(Base):
    __tablename__ = "countries"

    code: Mapped[str] = mapped_column(sa.CHAR(2), primary_key=True)
    name: Mapped[str] = mapped_column(sa.Text, unique=True)

    __table_args__ = (sa.CheckConstraint("code = upper(code)", "code"),)


class Team(Base):
    """A table in a cycle with Account, which is only checked when a transaction ends."""

    __tablename__ = "teams"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=sa.func.gen_random_uuid())
    name: Mapped[str] = mapped_column(sa.String(40))
    lead_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("accounts.id", deferrable=True, initially="DEFERRED", use_alter=True)
    )

    lead: Mapped["Account"] = relationship(foreign_keys=lead_id)


class Account(Base):
    __tablename__ = "accounts"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=sa.func.gen_random_uuid())
    team_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Team.id))
    country_code: Mapped[str] = mapped_column(
        sa.ForeignKey(Country.code, ondelete="SET DEFAULT"), server_default="XX"
    )
    invited_by_id: Mapped[UUID | None] = mapped_column(
        sa.ForeignKey("accounts.id", ondelete="SET NULL")
    )
    email: Mapped[str] = mapped_column(sa.String(20))
    level: Mapped[Level] = mapped_column(server_default="BASIC")
    days: Mapped[list[Day]] = mapped_column(server_default="{}")
    settings: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    calls_at: Mapped[dt.time | None] = mapped_column(sa.Time(timezone=True))
    closed_at: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())

    team: Mapped[Team] = relationship(foreign_keys=team_id)
    country: Mapped[Country] = relationship()
    invited_by: Mapped["Account | None"] = relationship(remote_side=id)

    __table_args__ = (
        sa.CheckConstraint("email LIKE '%@%.%'", "email"),
        sa.Index("uq_accounts_email", sa.text("lower(email)"), unique=True),
        sa.Index(
            "ix_accounts_open", "team_id", "email", postgresql_where=sa.text("closed_at IS NULL")
        ),
        sa.Index(None, "settings", postgresql_using="gin"),
        {"comment": "Whoever 'signs in', for 100% of them."},
    )


class Category(Base):
    """A tree whose rows may be written in any order."""

    __tablename__ = "categories"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey("categories.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED")
    )
    name: Mapped[str]

    parent: Mapped["Category | None"] = relationship(remote_side=id)

    __table_args__ = (sa.UniqueConstraint("parent_id", "name", postgresql_nulls_not_distinct=True),)


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    sku: Mapped[str] = mapped_column(sa.String(12), unique=True)
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    discount: Mapped[Decimal | None] = mapped_column(sa.Numeric(4, 2))
    net: Mapped[Decimal | None] = mapped_column(
        sa.Numeric(10, 2), sa.Computed("price - discount", persisted=True)
    )
    tags: Mapped[list[str]] = mapped_column(server_default="{}")
    released_on: Mapped[dt.date | None]
    withdrawn_on: Mapped[dt.date | None]

    __table_args__ = (
        sa.CheckConstraint("price > 0", "price"),
        sa.CheckConstraint("discount BETWEEN 0 AND 20", "discount"),
        sa.CheckConstraint("released_on IS NOT NULL OR withdrawn_on IS NULL", "released"),
        sa.Index(None, "tags", postgresql_using="gin"),
        sa.Index(
            "ix_products_words", sa.text("to_tsvector('simple', sku)"), postgresql_using="gin"
        ),
    )


class ProductCategory(Base):
    __tablename__ = "product_categories"

    product_id: Mapped[int] = mapped_column(
        sa.ForeignKey(Product.id, ondelete="CASCADE"), primary_key=True
    )
    category_id: Mapped[int] = mapped_column(
        sa.ForeignKey(Category.id, ondelete="RESTRICT"), primary_key=True
    )

    product: Mapped[Product] = relationship()
    category: Mapped[Category] = relationship()


class Order(Base):
    __tablename__ = "orders"

    account_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey(Account.id, ondelete="RESTRICT"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(server_default="private")
    company: Mapped[str | None]
    note: Mapped[str | None]

    account: Mapped[Account] = relationship()

    __table_args__ = (
        sa.CheckConstraint("kind IN ('private', 'business')", "kind"),
        sa.CheckConstraint("(kind = 'business') = (company IS NOT NULL)", "company"),
        sa.CheckConstraint("note NOT LIKE '%secret%'", "note"),
    )


class Line(Base):
    """Lines that can be reordered: their positions are unique when a transaction ends."""

    __tablename__ = "lines"

    id: Mapped[int] = mapped_column(sa.Identity(start=1000, increment=10), primary_key=True)
    account_id: Mapped[UUID]
    order_number: Mapped[int]
    position: Mapped[int] = mapped_column(sa.SmallInteger)
    product_id: Mapped[int] = mapped_column(sa.ForeignKey(Product.id))
    amount: Mapped[int] = mapped_column(server_default="1")

    order: Mapped[Order] = relationship()
    product: Mapped[Product] = relationship()

    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["account_id", "order_number"], [Order.account_id, Order.number], ondelete="CASCADE"
        ),
        sa.UniqueConstraint(
            "account_id", "order_number", "position", deferrable=True, initially="DEFERRED"
        ),
        sa.CheckConstraint("amount > 0", "amount"),
    )


class Invoice(Base):
    __tablename__ = "invoices"

    number: Mapped[str] = mapped_column(sa.String(12), primary_key=True)
    account_id: Mapped[UUID]
    order_number: Mapped[int]
    total: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    paid_at: Mapped[dt.datetime | None]

    order: Mapped[Order] = relationship()

    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["account_id", "order_number"], [Order.account_id, Order.number], ondelete="NO ACTION"
        ),
        sa.UniqueConstraint("account_id", "order_number"),
    )


class Room(Base):
    __tablename__ = "rooms"

    id: Mapped[int] = mapped_column(primary_key=True)
    country_code: Mapped[str] = mapped_column(sa.ForeignKey(Country.code, onupdate="CASCADE"))
    place: Mapped[str] = mapped_column(sa.Text, server_default=sa.text("'at: 100%'"))

    country: Mapped[Country] = relationship()


class Booking(Base):
    """Bookings that may not overlap."""

    __tablename__ = "bookings"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=sa.func.gen_random_uuid())
    room_id: Mapped[int] = mapped_column(sa.ForeignKey(Room.id, ondelete="CASCADE"))
    during: Mapped[pg.Range[dt.datetime]] = mapped_column(pg.TSTZRANGE)

    room: Mapped[Room] = relationship()

    __table_args__ = (
        pg.ExcludeConstraint(("during", "&&"), name="ex_bookings_during", using="gist"),
    )


class Event(Base):
    """A table with a partition for each year, and a default one."""

    __tablename__ = "events"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=sa.func.gen_random_uuid())
    at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    account_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey(Account.id, ondelete="SET NULL"))
    data: Mapped[dict[str, Any]]

    account: Mapped[Account | None] = relationship()

    __table_args__ = (
        sa.Index(None, "account_id", "at"),
        {"postgresql_partition_by": "RANGE (at)"},
    )


class Entry(Base):
    """A table in the second schema that refers to a partitioned one."""

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    event_id: Mapped[UUID]
    event_at: Mapped[dt.datetime]
    action: Mapped[Action]
    text: Mapped[str] = mapped_column(server_default="")

    event: Mapped[Event] = relationship()

    __table_args__ = (
        sa.ForeignKeyConstraint(["event_id", "event_at"], [Event.id, Event.at], ondelete="CASCADE"),
        {"schema": AUDIT},
    )


TABLES = Base.metadata.tables

BY_HAND: dict[str, str | None] = {
    "CREATE TABLE events_2026 PARTITION OF events"
    " FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2027-01-01 00:00+00')": None,
    "CREATE TABLE events_other PARTITION OF events DEFAULT": None,
    "CREATE FUNCTION trim_name() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN NEW.name = trim(NEW.name); RETURN NEW; END $$": "DROP FUNCTION trim_name()",
    "CREATE TRIGGER trim_name BEFORE INSERT OR UPDATE ON teams"
    " FOR EACH ROW EXECUTE FUNCTION trim_name()": "DROP TRIGGER trim_name ON teams",
    "CREATE VIEW open_accounts AS"
    " SELECT id, email FROM accounts WHERE closed_at IS NULL": "DROP VIEW open_accounts",
}
"""Statements that Alembic never autogenerates, and their reversal: partitions go with their table."""

for statement in BY_HAND:
    sa.event.listen(Base.metadata, "after_create", sa.DDL(statement.replace("%", "%%")))


def add_by_hand(file: Path, statements: Mapping[str, str | None]) -> None:
    """Add statements to a migration, as its comment asks for."""
    up, down = "def upgrade() -> None:\n", "def downgrade() -> None:\n"
    head, _, rest = file.read_text().partition(up)
    upgrade, _, downgrade = rest.partition(down)
    for statement, back in statements.items():
        upgrade = f"{upgrade.rstrip()}\n    op.execute({statement!r})\n"
        if back:
            downgrade = f"    op.execute({back!r})\n{downgrade}"
    file.write_text(f"{head}{up}{upgrade}\n\n{down}{downgrade}")
