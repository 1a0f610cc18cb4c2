"""Rows generated from metadata alone, all of which the server accepts."""

import asyncio
import datetime as dt
from decimal import Decimal
from itertools import cycle
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from stratakit.testing import Build, BuildError, example
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from . import shop

MODELS = sorted(
    (each.class_ for each in shop.Base.registry.mappers if each.class_ is not shop.Animal),
    key=lambda model: model.__name__,
)


@pytest.fixture(scope="module")
def postgres_url(postgres_url: str, worker_id: str) -> str:
    """The shop's database, to which `build` is bound as to any other."""
    return shop.open_at(postgres_url, f"{worker_id}build")


def values(instance: object) -> dict[str, Any]:
    """Return the values of an instance's columns."""
    return {
        each.key: getattr(instance, each.key) for each in sa.inspect(type(instance)).column_attrs
    }


@pytest.mark.parametrize("model", MODELS)
async def test_a_row_of_any_model_is_valid(build: Build, model: type[shop.Base]) -> None:
    for built in [await build(model), *await build.many(model, 5)]:
        assert sa.inspect(built).has_identity
        assert values(built)


async def test_a_built_row_is_committed(build: Build, postgres_engine: AsyncEngine) -> None:
    product = await build(shop.Product)
    async with postgres_engine.connect() as other:
        query = sa.select(shop.Product.sku).where(shop.Product.id == product.id)
        assert await other.scalar(query) == product.sku


async def test_columns_with_a_server_default_are_left_to_the_server(build: Build) -> None:
    order = await build(shop.Order, total=Decimal(50))
    assert (order.status, order.tags, order.attributes) == ("open", [], {})
    assert order.tax == Decimal(10)
    customer = await build(shop.Customer)
    assert customer.created_at == customer.updated_at > dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


async def test_nullable_columns_stay_null(build: Build) -> None:
    product = await build(shop.Product)
    assert (product.replaced_by_id, (await build(shop.Customer)).note) == (None, None)


async def test_any_field_can_be_given(build: Build) -> None:
    order = await build(shop.Order, total=3, currency="EUR", tags=["a"], status="paid")
    assert order.total == Decimal(3)
    assert (order.currency, order.tags, order.status) == ("EUR", ["a"], "paid")


async def test_a_required_parent_is_built_and_loaded(build: Build) -> None:
    line = await build(shop.Line)
    assert line.order.id == line.order_id
    assert line.order.customer.email
    assert line.product.sku


async def test_a_given_parent_is_shared_by_all_rows(build: Build) -> None:
    order = await build(shop.Order)
    lines = await build.many(shop.Line, 3, order=order)
    assert all(line.order is order for line in lines)
    assert {line.order_id for line in lines} == {order.id}
    by_key = await build(shop.Line, order_id=order.id)
    assert by_key.order_id == order.id


async def test_a_given_parent_can_be_shared_by_concurrent_builds(build: Build) -> None:
    order = await build(shop.Order)
    lines = await asyncio.gather(*(build(shop.Line, order=order) for _ in range(8)))
    assert len({line.position for line in lines}) == 8


async def test_a_given_parent_that_is_unsaved_is_stored(build: Build) -> None:
    product = shop.Product(sku="new", code="c", ean="1" * 13)
    replaced = await build(shop.Product, replaced_by=product)
    assert replaced.replaced_by_id == product.id


async def test_an_optional_relation_can_be_given_as_none(build: Build) -> None:
    assert (await build(shop.Product, replaced_by=None)).replaced_by_id is None


async def test_each_row_can_take_its_own_value_from_a_list_iterator_or_function(
    build: Build,
) -> None:
    orders = await build.many(shop.Order, 2)
    lines = await build.many(
        shop.Line,
        4,
        order=[orders[0], orders[1], orders[0], orders[1]],
        position=lambda number: number * 10,
        amount=cycle([1, 2]),
        product_id=(await build(shop.Product)).id,
    )
    assert [line.position for line in lines] == [10, 20, 30, 40]
    assert [line.amount for line in lines] == [1, 2, 1, 2]
    assert [line.order for line in lines] == orders * 2
    assert len({line.product_id for line in lines}) == 1
    tenant = await build(shop.Tenant)
    ranged = await build.many(shop.Account, 3, tenant_id=tenant.id, number=range(3))
    assert [each.number for each in ranged] == [0, 1, 2]


async def test_a_list_for_an_array_field_is_one_value_for_all_rows(build: Build) -> None:
    orders = await build.many(shop.Order, 2, tags=["a", "b"], attributes={"a": [1, 2]})
    assert [order.tags for order in orders] == [["a", "b"]] * 2
    orders = await build.many(shop.Order, 2, tags=lambda number: [str(number)])
    assert [order.tags for order in orders] == [["1"], ["2"]]


async def test_too_few_values_for_the_rows_are_refused(build: Build) -> None:
    with pytest.raises(BuildError, match=r"Customer\.grade has 2 values, for 3 rows"):
        await build.many(shop.Customer, 3, grade=[1, 2])
    with pytest.raises(BuildError, match=r"Customer\.grade has values for 2 of 3 rows"):
        await build.many(shop.Customer, 3, grade=iter([1, 2]))


async def test_computed_and_identity_columns_cannot_be_given_to_build(build: Build) -> None:
    with pytest.raises(BuildError, match=r"Order\.tax is computed: .*from: total \* 0\.2"):
        await build(shop.Order, tax=3)
    with pytest.raises(BuildError, match=r"Customer\.id is an identity: .*leave it out"):
        await build.many(shop.Customer, 2, id=[1, 2])
    assert example(shop.Customer, id=7).id == 7


async def test_children_can_be_given(build: Build) -> None:
    orders = [example(shop.Order, number) for number in (1, 2)]
    customer = await build(shop.Customer, orders=orders)
    assert {order.customer_id for order in orders} == {customer.id}


async def test_a_cycle_of_relations_is_closed_by_given_rows(build: Build) -> None:
    department = await build(shop.Department)
    head = await build(shop.Employee, department=department)
    other = await build(shop.Department, head=head)
    assert other.head is head
    assert head.department is department


async def test_a_row_built_in_a_transaction_is_invisible_outside_it(
    postgres_engine: AsyncEngine, rollback: AsyncConnection
) -> None:
    product = await Build(rollback, "seed")(shop.Product)
    query = sa.select(sa.func.count()).where(shop.Product.id == product.id)
    assert await rollback.scalar(query) == 1
    async with postgres_engine.connect() as other:
        assert await other.scalar(query) == 0


async def test_overlapping_foreign_keys_agree_on_the_shared_column(build: Build) -> None:
    transfer = await build(shop.Transfer)
    assert transfer.source != transfer.target
    tenant = await build(shop.Tenant)
    assert (await build(shop.Transfer, tenant_id=tenant.id)).tenant_id == tenant.id


async def test_a_row_with_a_required_key_to_its_own_table_refers_to_itself(build: Build) -> None:
    folder = await build(shop.Folder)
    assert folder.root_id == folder.id
    assert (await build(shop.Folder, root_id=folder.id)).root_id == folder.id


def test_a_self_reference_works_with_a_key_of_zero() -> None:
    class Own(DeclarativeBase):
        pass

    class Node(Own):
        __tablename__ = "nodes"
        id: Mapped[int] = mapped_column(primary_key=True)
        root_id: Mapped[int] = mapped_column(sa.ForeignKey("nodes.id"))

    node = example(Node, id=0)
    assert (node.id, node.root_id) == (0, 0)


async def test_a_parent_of_an_abstract_model_is_built_as_a_subclass(build: Build) -> None:
    toy = await build(shop.Toy)
    assert isinstance(toy.animal, shop.Cat)
    assert toy.animal.kind == "cat"


async def test_generated_values_satisfy_checks_together_with_given_values(build: Build) -> None:
    noon = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    assert (await build(shop.Order, opened_at=noon)).closed_at > noon
    assert (await build(shop.Order, closed_at=noon)).opened_at < noon
    order = await build(shop.Order, paid_card=1)
    assert (order.paid_card, order.paid_cash) == (Decimal(1), None)


async def test_unique_columns_get_distinct_values(build: Build, postgres_url: str) -> None:
    customers = await build.many(shop.Customer, 300)
    assert len({each.email for each in customers}) == 300
    assert all(len(each.email) <= 40 for each in customers)
    products = await build.many(shop.Product, 300)
    assert len({each.sku for each in products}) == 300


async def test_the_same_seed_gives_the_same_values(postgres_engine: AsyncEngine) -> None:
    one, other = (Build(postgres_engine, "seed") for _ in range(2))
    # The key is given: the server would accept a generated one only once.
    first = values(await one(shop.Everything, id=-1))
    assert first == {**values(await other(shop.Everything, id=-2)), "id": -1}


async def test_different_seeds_give_different_unique_values(
    postgres_engine: AsyncEngine,
) -> None:
    builds = [Build(postgres_engine, str(seed)) for seed in range(50)]
    customers = [await build(shop.Customer) for build in builds]
    assert len({each.email for each in customers}) == 50


async def test_an_unknown_field_error_suggests_existing_fields(build: Build) -> None:
    with pytest.raises(BuildError, match=r"Order has no field 'totl': did you mean total\?"):
        await build(shop.Order, totl=3)
    with pytest.raises(BuildError, match="it has "):
        example(shop.Order, xyz=3)


async def test_a_parent_of_the_wrong_model_is_refused(build: Build) -> None:
    with pytest.raises(BuildError, match=r"Line\.order takes a Order"):
        await build(shop.Line, order=await build(shop.Product))


async def test_a_class_that_is_not_mapped_is_refused(build: Build) -> None:
    with pytest.raises(BuildError, match="is not a mapped class"):
        await build(int)


async def test_given_values_that_break_a_constraint_are_refused_by_the_server(build: Build) -> None:
    with pytest.raises(IntegrityError, match="ck_customers_grade"):
        await build(shop.Customer, grade=9)
    customer = await build(shop.Customer)
    with pytest.raises(IntegrityError, match="uq_customers_email"):
        await build(shop.Customer, email=customer.email)


async def test_an_unsupported_check_error_names_the_argument_to_give(
    build: Build, postgres_engine: AsyncEngine
) -> None:
    class Local(DeclarativeBase):
        pass

    class Odd(Local):
        __tablename__ = "odd"
        id: Mapped[int] = mapped_column(primary_key=True)
        code: Mapped[str] = mapped_column(sa.CheckConstraint("code ~ '^[A-Z]{3}$'", "ck_code"))

    async with postgres_engine.begin() as connection:
        await connection.run_sync(Local.metadata.create_all)
    with pytest.raises(BuildError, match="ck_code") as caught:
        await build(Odd)
    assert "code ~ '^[A-Z]{3}$'" in str(caught.value)
    assert "build(..., code=...)" in str(caught.value)
    assert (await build(Odd, code="ABC")).code == "ABC"


def test_an_unsatisfiable_check_error_names_the_column() -> None:
    class Local(DeclarativeBase):
        pass

    class Never(Local):
        __tablename__ = "never"
        id: Mapped[int] = mapped_column(primary_key=True)
        size: Mapped[int] = mapped_column(sa.CheckConstraint("size > 3 AND size < 4", "ck_size"))

    with pytest.raises(BuildError, match=r"never\.size: its checks leave no value"):
        example(Never)


def test_a_cycle_of_required_foreign_keys_is_named() -> None:
    class Local(DeclarativeBase):
        pass

    class Hen(Local):
        __tablename__ = "hens"
        id: Mapped[int] = mapped_column(primary_key=True)
        egg_id: Mapped[int] = mapped_column(sa.ForeignKey("eggs.id"))

    class Egg(Local):
        __tablename__ = "eggs"
        id: Mapped[int] = mapped_column(primary_key=True)
        hen_id: Mapped[int] = mapped_column(sa.ForeignKey("hens.id"))

    with pytest.raises(BuildError, match="hens -> eggs -> hens"):
        example(Hen)
    assert example(Hen, egg_id=3).egg_id == 3


def test_an_unsupported_column_type_is_named() -> None:
    class Local(DeclarativeBase):
        pass

    class Strange(Local):
        __tablename__ = "strange"
        id: Mapped[int] = mapped_column(primary_key=True)
        words: Mapped[Any] = mapped_column(sa.dialects.postgresql.TSVECTOR)

    with pytest.raises(BuildError, match=r"strange\.words: no value of the type TSVECTOR"):
        example(Strange)


@pytest.mark.parametrize("model", MODELS)
def test_an_example_needs_no_database(model: type[shop.Base]) -> None:
    made = example(model)
    for attribute in sa.inspect(model).column_attrs:
        [column, *_] = attribute.columns
        filled = column.nullable or getattr(made, attribute.key) is not None
        assert filled or column.computed is not None


def test_an_example_takes_fields_and_relations() -> None:
    id_ = uuid4()
    order = example(shop.Order, id=id_, customer=example(shop.Customer, 2, id=7))
    assert (order.id, order.customer_id, order.customer.id) == (id_, 7, 7)
    assert values(example(shop.Order, 2)) != values(example(shop.Order, 1))
