"""Tables of every shape that builders and derived tests have to know."""

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from stratakit import names
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

MAIN, STOCK = "shop", "stock"

Moment = Annotated[dt.datetime, mapped_column(server_default=sa.func.now())]
Moved = Annotated[dt.datetime, mapped_column(server_default=sa.func.now(), onupdate=sa.func.now())]


class Level(enum.Enum):
    PLAIN = "plain"
    GOLD = "gold"


class Upper(sa.types.TypeDecorator[str]):
    """Text that is stored in capitals and read in small letters."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return value and value.upper()

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return value and value.lower()


NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
"""Naming convention of constraints and indexes, as in a service."""


class Base(DeclarativeBase):
    metadata = sa.MetaData(
        schema=MAIN,
        naming_convention=NAMING,
    )
    type_annotation_map: ClassVar = {
        dt.datetime: sa.DateTime(timezone=True),
        dict[str, Any]: pg.JSONB,
        list[str]: pg.ARRAY(sa.Text),
        Level: sa.Enum(Level, name="level", metadata=metadata),
    }


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(40), unique=True)
    grade: Mapped[int] = mapped_column(sa.SmallInteger)
    level: Mapped[Level]
    note: Mapped[str | None]
    created_at: Mapped[Moment]
    updated_at: Mapped[Moved]

    orders: Mapped[list["Order"]] = relationship(back_populates="customer")

    __table_args__ = (
        sa.CheckConstraint("email LIKE '%@%'", "email"),
        sa.CheckConstraint("grade BETWEEN 1 AND 5", "grade"),
        sa.Index(None, sa.func.lower(email).label("lower_email")),
    )


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=sa.func.gen_random_uuid())
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey(Customer.id, ondelete="CASCADE"))
    number: Mapped[int]
    status: Mapped[str] = mapped_column(server_default="open")
    currency: Mapped[str] = mapped_column(sa.CHAR(3))
    total: Mapped[Decimal] = mapped_column(sa.Numeric(8, 2))
    tax: Mapped[Decimal] = mapped_column(
        sa.Numeric(8, 2), sa.Computed("total * 0.2", persisted=True)
    )
    tags: Mapped[list[str]] = mapped_column(server_default="{}")
    grid: Mapped[list[list[int]] | None] = mapped_column(pg.ARRAY(sa.Integer, dimensions=2))
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    opened_at: Mapped[dt.datetime]
    closed_at: Mapped[dt.datetime]
    paid_cash: Mapped[Decimal | None]
    paid_card: Mapped[Decimal | None]

    customer: Mapped[Customer] = relationship(back_populates="orders")

    __table_args__ = (
        sa.UniqueConstraint("customer_id", "number"),
        sa.CheckConstraint(sa.column("total") > 0, "total"),
        sa.CheckConstraint("status IN ('open', 'shipped', 'paid')", "status"),
        sa.CheckConstraint("char_length(currency) = 3 AND upper(currency) = currency", "currency"),
        sa.CheckConstraint("closed_at > opened_at", "closed"),
        sa.CheckConstraint("num_nonnulls(paid_cash, paid_card) = 1", "paid"),
        sa.Index("ix_orders_open", "number", postgresql_where=sa.text("status = 'open'")),
        sa.Index(None, "tags", postgresql_using="gin"),
    )


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(sa.String(4), unique=True)
    code: Mapped[str] = mapped_column(Upper)
    ean: Mapped[str] = mapped_column(info={"example": lambda n: f"{n:013}"})
    stock: Mapped[int] = mapped_column(sa.CheckConstraint("stock >= 0", "stock"), default=0)
    replaced_by_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey(f"{STOCK}.products.id", ondelete="SET NULL")
    )

    replaced_by: Mapped["Product | None"] = relationship(remote_side=id)

    __table_args__ = (
        sa.CheckConstraint("ean ~ '^[0-9]{13}$'", "ean"),
        sa.Index("uq_products_replacement", replaced_by_id, unique=True),
        {"schema": STOCK},
    )


class Line(Base):
    __tablename__ = "lines"

    order_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey(Order.id, ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(sa.ForeignKey(Product.id, ondelete="RESTRICT"))
    amount: Mapped[int] = mapped_column(server_default="1")

    order: Mapped[Order] = relationship()
    product: Mapped[Product] = relationship()


labels = sa.Table(
    "labels",
    Base.metadata,
    sa.Column("name", sa.Text, primary_key=True),
)
order_labels = sa.Table(
    "order_labels",
    Base.metadata,
    sa.Column("order_id", sa.ForeignKey(Order.id), primary_key=True),
    sa.Column("label", sa.ForeignKey(labels.c.name), primary_key=True),
)


class Sticker(Base):
    """A table that refers to one without a mapped class."""

    __tablename__ = "stickers"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(sa.ForeignKey(labels.c.name))


class Department(Base):
    """A table in a cycle with Employee, which a null breaks."""

    __tablename__ = "departments"

    id: Mapped[int] = mapped_column(primary_key=True)
    head_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey(f"{MAIN}.employees.id", ondelete="SET NULL", use_alter=True)
    )

    head: Mapped["Employee | None"] = relationship(foreign_keys=head_id, post_update=True)


class Employee(Base):
    __tablename__ = "employees"

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int] = mapped_column(sa.ForeignKey(Department.id))

    department: Mapped[Department] = relationship(foreign_keys=department_id)


class Folder(Base):
    """A tree whose rows all have a root; a root's root is itself."""

    __tablename__ = "folders"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=sa.func.gen_random_uuid())
    root_id: Mapped[UUID] = mapped_column(sa.ForeignKey(f"{MAIN}.folders.id"))


class Tenant(Base):
    __tablename__ = "tenants"

    id: Mapped[int] = mapped_column(primary_key=True)


class Account(Base):
    __tablename__ = "accounts"

    tenant_id: Mapped[int] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)


class Transfer(Base):
    """A transfer between two accounts of its tenant."""

    __tablename__ = "transfers"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(sa.ForeignKey(Tenant.id))
    source: Mapped[int]
    target: Mapped[int]

    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["tenant_id", "source"], [Account.tenant_id, Account.number], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tenant_id", "target"], [Account.tenant_id, Account.number]),
    )


class Animal(Base):
    __tablename__ = "animals"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_abstract": True}  # noqa: RUF012 - as SQLAlchemy types it


class Cat(Animal):
    __tablename__ = "cats"

    id: Mapped[int] = mapped_column(sa.ForeignKey(Animal.id), primary_key=True)
    lives: Mapped[int] = mapped_column(sa.CheckConstraint("lives > 6 AND lives <> 7", "lives"))

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012 - as above


class Toy(Base):
    __tablename__ = "toys"

    id: Mapped[int] = mapped_column(primary_key=True)
    animal_id: Mapped[int] = mapped_column(sa.ForeignKey(Animal.id))

    animal: Mapped[Animal] = relationship()


class Everything(Base):
    """A table with a column of each type; nullable ones are filled on demand."""

    __tablename__ = "everything"

    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    big: Mapped[int] = mapped_column(sa.BigInteger)
    boolean: Mapped[bool]
    bytes: Mapped[bytes] = mapped_column(sa.LargeBinary)
    cidr: Mapped[str] = mapped_column(pg.CIDR)
    citizen: Mapped[Level] = mapped_column(sa.Enum(Level, native_enum=False))
    date: Mapped[dt.date]
    double: Mapped[float]
    dates: Mapped[pg.Range[dt.date]] = mapped_column(pg.DATERANGE)
    inet: Mapped[str] = mapped_column(pg.INET)
    interval: Mapped[dt.timedelta]
    json: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    mac: Mapped[str] = mapped_column(pg.MACADDR)
    numbers: Mapped[Any] = mapped_column(pg.INT4MULTIRANGE)
    levels: Mapped[list[Level]] = mapped_column(
        pg.ARRAY(sa.Enum(Level, name="level", metadata=Base.metadata))
    )
    span: Mapped[pg.Range[dt.datetime]] = mapped_column(pg.TSTZRANGE)
    time: Mapped[dt.time]
    wall: Mapped[dt.datetime] = mapped_column(sa.DateTime)
    words: Mapped[str] = mapped_column(sa.Enum("one", "two", name="words", metadata=Base.metadata))
    uuid: Mapped[str] = mapped_column(sa.Uuid(as_uuid=False))


def engine(url: str) -> sa.Engine:
    """Return a SQLAlchemy engine for stratakit's own driver, whichever `url` names."""
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool
    )


def open_at(postgres_url: str, tag: str, metadata: sa.MetaData = Base.metadata) -> str:
    """Make a database of the same run with these tables, or with others; return its URL."""
    url = sa.make_url(postgres_url)
    run = names.run_of(url.database or "")
    assert run
    own = url.set(database=names.database(run, tag)).render_as_string(hide_password=False)
    with engine(postgres_url).connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(sa.text(f"CREATE DATABASE {sa.make_url(own).database}"))
    with engine(own).begin() as connection:
        for schema in {table.schema for table in metadata.tables.values()} - {None}:
            connection.execute(sa.schema.CreateSchema(schema))
        metadata.create_all(connection)
    return own
