"""Legal but uncommon tables that builders could not fill, or that derived tests took for faults."""

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from .shop import NAMING


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING)


class Reading(Base):
    """A partitioned table without a default partition."""

    __tablename__ = "readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True), primary_key=True)
    value: Mapped[Decimal]

    __table_args__ = {"postgresql_partition_by": "RANGE (at)"}  # noqa: RUF012 - as SQLAlchemy types it


class Alarm(Base):
    """A table partitioned by two keys, which refers to a partitioned one."""

    __tablename__ = "alarms"

    id: Mapped[int] = mapped_column(primary_key=True)
    area: Mapped[str] = mapped_column(sa.String(8), primary_key=True)
    kind: Mapped[int] = mapped_column(primary_key=True)
    reading_id: Mapped[int]
    reading_at: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True))

    reading: Mapped[Reading] = relationship()

    __table_args__ = (
        sa.ForeignKeyConstraint(["reading_id", "reading_at"], [Reading.id, Reading.at]),
        {"postgresql_partition_by": "LIST (area)"},
    )


class Shard(Base):
    __tablename__ = "shards"

    id: Mapped[int] = mapped_column(sa.Identity(), primary_key=True)

    __table_args__ = {"postgresql_partition_by": "HASH (id)"}  # noqa: RUF012 - as above


class Line(Base):
    """A table with a generated column, null where its source is null."""

    __tablename__ = "lines"

    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    price: Mapped[int | None]
    doubled: Mapped[int | None] = mapped_column(sa.Computed("price * 2", persisted=True))
    words: Mapped[list[str] | None] = mapped_column(
        pg.ARRAY(sa.Text), sa.Computed("ARRAY[price::text]", persisted=True)
    )
    late: Mapped[dt.datetime | None] = mapped_column(
        sa.DateTime, sa.Computed("begun_at + interval '1 day'", persisted=True)
    )
    begun_at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime)
    updated_at: Mapped[dt.datetime] = mapped_column(
        sa.DateTime(timezone=True), server_default=sa.func.now(), onupdate=sa.func.now()
    )


class Shift(Base):
    __tablename__ = "shifts"

    begins: Mapped[dt.time] = mapped_column(sa.Time(timezone=True), primary_key=True)
    ends: Mapped[dt.time] = mapped_column(sa.Time(timezone=True))
    breaks: Mapped[list[dt.time]] = mapped_column(pg.ARRAY(sa.Time(timezone=True)))

    __table_args__ = (
        sa.CheckConstraint("begins >= '08:00+00'", "begins"),
        sa.CheckConstraint("ends > begins", "ends"),
    )


class Party(Base):
    """A table where the kind decides which other columns are set."""

    __tablename__ = "parties"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(server_default="person")
    level: Mapped[int] = mapped_column(server_default=sa.text("'2'::int"))
    line_id: Mapped[int | None] = mapped_column(sa.ForeignKey(Line.id))
    born_on: Mapped[dt.date | None]
    founded_on: Mapped[dt.date | None]
    nick: Mapped[str | None]
    alias: Mapped[str | None]
    phone: Mapped[str | None]
    first: Mapped[int | None]
    last: Mapped[int | None]
    done: Mapped[bool | None]

    __table_args__ = (
        sa.CheckConstraint("(kind = 'person') = (line_id IS NOT NULL)", "line"),
        sa.CheckConstraint(
            "CASE kind WHEN 'person' THEN born_on IS NOT NULL ELSE founded_on IS NOT NULL END",
            "date",
        ),
        sa.CheckConstraint("(nick IS NULL) <> (alias IS NULL)", "names"),
        sa.CheckConstraint("(first IS NULL) = (last IS NULL)", "both"),
        sa.CheckConstraint("level < 2 OR phone IS NOT NULL", "phone"),
        sa.CheckConstraint("done IS NOT TRUE OR level > 1", "done"),
    )


class Page(Base):
    __tablename__ = "pages"

    mail: Mapped[str] = mapped_column(sa.String(10), primary_key=True)
    url: Mapped[str] = mapped_column(sa.String(30))
    percent: Mapped[str] = mapped_column(sa.String(4))
    plain: Mapped[str]
    upper: Mapped[str] = mapped_column(sa.String(6))

    __table_args__ = (
        sa.CheckConstraint("mail LIKE '%@%.%'", "mail"),
        sa.CheckConstraint("url LIKE 'https://%' AND url LIKE '%.example'", "url"),
        sa.CheckConstraint(r"percent LIKE '%\%'", "percent"),
        sa.CheckConstraint("plain NOT LIKE '%plain%' AND plain <> ''", "plain"),
        sa.CheckConstraint("upper = upper(upper) AND upper LIKE '_-%-_'", "upper"),
    )


class Crew(Base):
    """A table in a cycle with Sailor and Ship, in which one key is deferred."""

    __tablename__ = "crews"

    id: Mapped[int] = mapped_column(sa.Identity(), primary_key=True)
    captain_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("sailors.id", deferrable=True, use_alter=True)
    )

    captain: Mapped["Sailor"] = relationship(foreign_keys=captain_id)


class Ship(Base):
    __tablename__ = "ships"

    id: Mapped[int] = mapped_column(primary_key=True)
    crew_id: Mapped[int] = mapped_column(sa.ForeignKey(Crew.id, ondelete="CASCADE"))

    crew: Mapped[Crew] = relationship()


class Sailor(Base):
    __tablename__ = "sailors"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=sa.func.gen_random_uuid())
    ship_id: Mapped[int] = mapped_column(
        sa.ForeignKey(Ship.id, deferrable=True, initially="DEFERRED")
    )
    mate_id: Mapped[UUID] = mapped_column(sa.ForeignKey("sailors.id"))

    ship: Mapped[Ship] = relationship()


class Land(Base):
    __tablename__ = "lands"

    code: Mapped[str] = mapped_column(sa.CHAR(2), primary_key=True)


class Harbour(Base):
    """A table whose defaults are keys of rows that do not exist."""

    __tablename__ = "harbours"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(
        sa.ForeignKey(Land.code, ondelete="SET DEFAULT"), server_default="XX"
    )
    pack_id: Mapped[int] = mapped_column(sa.ForeignKey("packs.id"), server_default="1000007")

    land: Mapped[Land] = relationship()


class Pack(Base):
    __tablename__ = "packs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    pack_id: Mapped[int] = mapped_column(sa.ForeignKey(Pack.id))
    name: Mapped[str]

    pack: Mapped[Pack] = relationship()

    __table_args__ = (sa.UniqueConstraint("pack_id", "name"),)


class Badge(Base):
    """A table with at most one row for each pack."""

    __tablename__ = "badges"

    id: Mapped[int] = mapped_column(primary_key=True)
    pack_id: Mapped[int] = mapped_column(sa.ForeignKey(Pack.id), unique=True)

    pack: Mapped[Pack] = relationship()


class Rule(Base):
    """A table that refers to a pack directly and through its other keys."""

    __tablename__ = "rules"

    id: Mapped[int] = mapped_column(primary_key=True)
    pack_id: Mapped[int] = mapped_column(sa.ForeignKey(Pack.id))
    given_id: Mapped[int] = mapped_column(sa.ForeignKey(Item.id))
    result_id: Mapped[int] = mapped_column(sa.ForeignKey(Item.id))
    badge_id: Mapped[int | None] = mapped_column(sa.ForeignKey(Badge.id))
    data: Mapped[dict[str, Any]] = mapped_column(pg.JSONB, server_default="{}")
    tags: Mapped[list[str]] = mapped_column(pg.ARRAY(sa.Text), server_default="{}")

    pack: Mapped[Pack] = relationship()
    given: Mapped[Item] = relationship(foreign_keys=given_id)
    result: Mapped[Item] = relationship(foreign_keys=result_id)
    badge: Mapped[Badge | None] = relationship()

    __table_args__ = (sa.CheckConstraint("given_id <> result_id", "two"),)


class Stay(Base):
    """Stays that may not overlap, with codes that are unique regardless of case."""

    __tablename__ = "stays"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(6))
    during: Mapped[pg.Range[dt.date]] = mapped_column(pg.DATERANGE)

    __table_args__ = (
        sa.Index("uq_stays_code", sa.text("lower(code)"), unique=True),
        pg.ExcludeConstraint(("during", "&&"), name="ex_stays_during", using="gist"),
    )


PARTITIONS = {
    "readings_2026 PARTITION OF readings": "FROM ('2026-01-01 00:00+00') TO ('2027-01-01 00:00+00')",
    "readings_2027 PARTITION OF readings": "FROM ('2027-01-01 00:00+00') TO ('2028-01-01 00:00+00')",
    "alarms_north PARTITION OF alarms": "IN ('north') PARTITION BY RANGE (kind)",
    "alarms_north_1 PARTITION OF alarms_north": "FROM (10) TO (1000)",
    "shards_0 PARTITION OF shards": "WITH (MODULUS 2, REMAINDER 0)",
    "shards_1 PARTITION OF shards": "WITH (MODULUS 2, REMAINDER 1)",
}

for which, values in PARTITIONS.items():
    create = sa.DDL(f"CREATE TABLE {which} FOR VALUES {values}")
    sa.event.listen(Base.metadata, "after_create", create)
