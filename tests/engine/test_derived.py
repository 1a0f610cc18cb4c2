"""Builders and derived tests on every legal schema, as superuser and as a plain role."""

from collections.abc import Iterator
from types import ModuleType

import pytest
import sqlalchemy as sa
from stratakit.factories.constraints import BuildError
from stratakit.schema_tests import catalog, why_unbuilt
from stratakit.testing import Build, example, schema
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from . import shop, thirteen, uncommon

MODULES: dict[str, ModuleType] = {"thirteen": thirteen, "uncommon": uncommon}
MODELS = {
    f"{name}-{each.class_.__name__}": (name, each.class_)
    for name, module in MODULES.items()
    for each in sorted(module.Base.registry.mappers, key=str)
}
CASES = {
    f"{name}-{case.id}": (name, case)
    for name, module in MODULES.items()
    for case in schema.cases(module.Base.metadata)
}


@pytest.fixture(scope="module", params=["superuser", "plain"])
def urls(
    postgres_url: str, worker_id: str, request: pytest.FixtureRequest
) -> Iterator[dict[str, str]]:
    """Databases with the tables, made by the run's own role or by one with CREATEDB alone."""
    tag = f"{worker_id}{request.param}"
    if request.param == "superuser":
        yield made(postgres_url, tag)
        return
    with shop.engine(postgres_url).connect() as admin:
        admin.execution_options(isolation_level="AUTOCOMMIT")
        admin.execute(sa.text(f"CREATE ROLE {tag} LOGIN CREATEDB PASSWORD '{tag}'"))
        own = sa.make_url(postgres_url).set(username=tag, password=tag)
        databases = made(own.render_as_string(hide_password=False), tag)
        yield databases
        for each in databases.values():
            admin.execute(sa.text(f"DROP DATABASE {sa.make_url(each).database} WITH (FORCE)"))
        admin.execute(sa.text(f"DROP ROLE {tag}"))


def made(url: str, tag: str) -> dict[str, str]:
    return {
        name: shop.open_at(url, f"{tag}{name}", module.Base.metadata)
        for name, module in MODULES.items()
    }


@pytest.fixture(scope="module")
def catalogs(urls: dict[str, str]) -> dict[str, catalog.Catalog]:
    """Catalog of each database, read along with its models."""
    found = {}
    for name, url in urls.items():
        with shop.engine(url).connect() as connection:
            found[name] = catalog.read(connection, MODULES[name].Base.metadata)
            connection.rollback()
    return found


@pytest.mark.parametrize("id_", CASES)
def test_each_derived_case_passes(
    urls: dict[str, str], catalogs: dict[str, catalog.Catalog], id_: str
) -> None:
    name, case = CASES[id_]
    with shop.engine(urls[name]).connect() as connection:
        schema.prove(connection, case, catalogs[name])
        connection.rollback()


@pytest.mark.parametrize("id_", MODELS)
async def test_a_row_of_each_table_is_built(urls: dict[str, str], id_: str) -> None:
    name, model = MODELS[id_]
    engine = create_async_engine(urls[name])
    build = Build(engine, id_)
    for built in [await build(model), *await build.many(model, 5)]:
        assert sa.inspect(built).has_identity
    await engine.dispose()


@pytest.mark.parametrize("id_", MODELS)
def test_an_example_of_each_model_needs_no_database(id_: str) -> None:
    _, model = MODELS[id_]
    assert isinstance(example(model), model)


class Local(DeclarativeBase):
    """Tables that no row can be built for, because of an unsupported check."""


class Coded(Local):
    __tablename__ = "coded"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.CheckConstraint("code ~ '^[A-Z]{3}$'", "ck_code"))
    note: Mapped[str | None]


class Child(Local):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    coded_id: Mapped[int] = mapped_column(sa.ForeignKey(Coded.id))


class Told(Local):
    __tablename__ = "told"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(
        sa.CheckConstraint("code ~ '^[A-Z]{3}$'", "ck_told"), info={"example": "ABC"}
    )


async def test_an_unsupported_check_fails_one_case_and_skips_its_dependents(
    postgres_url: str, worker_id: str
) -> None:
    engine = create_async_engine(shop.open_at(postgres_url, f"{worker_id}said", Local.metadata))
    proof = schema.suite(Local)
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for case in schema.cases(Local.metadata):
        try:
            await proof(case=case, postgres_engine=engine)
        except pytest.fail.Exception as failure:
            failed[case.id] = str(failure)
        except pytest.skip.Exception as reason:
            skipped[case.id] = str(reason)
    await engine.dispose()
    [(id_, message)] = failed.items()
    assert id_ == "coded-row"
    assert "satisfy the constraint ck_code: CHECK (code ~ '^[A-Z]{3}$')" in message
    assert 'mapped_column(info={"example": ...})' in message
    assert {"coded-primary-key", "coded-not-null-code", "children-row"} <= skipped.keys()
    assert set(skipped.values()) == {"it needs a row of coded: see the case coded-row"}
    assert not any(each.startswith("told") or each.endswith("columns") for each in skipped)


def test_a_domain_check_that_rejects_all_rows_is_reported_in_the_servers_words(
    postgres_url: str,
) -> None:
    odd = pg.DOMAIN("odd", sa.Integer, check="VALUE % 2 = 0 AND VALUE < 0")
    metadata = sa.MetaData()
    table = sa.Table(
        "numbered",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", odd, nullable=False),
    )
    with shop.engine(postgres_url).connect() as connection:
        metadata.create_all(connection)
        found = why_unbuilt(connection, table)
        connection.rollback()
    assert found is not None
    assert found.table is table
    assert "numbered: the server rejects every generated row: value for domain odd" in str(found)


def test_a_table_without_a_partition_for_generated_rows_is_reported(postgres_url: str) -> None:
    metadata = sa.MetaData()
    table = sa.Table(
        "nowhere",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        postgresql_partition_by="HASH (id)",
    )
    with shop.engine(postgres_url).connect() as connection:
        metadata.create_all(connection)
        found = why_unbuilt(connection, table)
        connection.rollback()
    assert isinstance(found, BuildError)
    assert "no partition accepts the generated values of HASH (id)" in str(found)


async def test_a_deferrable_foreign_key_is_immediate_again_after_a_build(
    postgres_url: str, worker_id: str
) -> None:
    metadata = uncommon.Base.metadata
    engine = create_async_engine(shop.open_at(postgres_url, f"{worker_id}circle", metadata))
    build = Build(engine, "circle")
    async with engine.connect() as connection:
        crew = await Build(connection, "in a transaction")(uncommon.Crew)
        # The key is not deferred by default, so it has to be checked at once again.
        broken = sa.update(uncommon.Crew).values(captain_id=sa.func.gen_random_uuid())
        with pytest.raises(exc.IntegrityError, match="fk_crews_captain_id"):
            await connection.execute(broken)
        await connection.rollback()
    crew = await build(uncommon.Crew)
    assert crew.captain.ship.crew_id == crew.id
    sailor = await build(uncommon.Sailor)
    assert sailor.ship.crew.captain_id == sailor.id
    await engine.dispose()


async def test_related_rows_share_their_common_parent(postgres_url: str, worker_id: str) -> None:
    metadata = uncommon.Base.metadata
    engine = create_async_engine(shop.open_at(postgres_url, f"{worker_id}shared", metadata))
    build = Build(engine, "shared")
    rule = await build(uncommon.Rule)
    assert rule.given is not rule.result
    assert rule.pack is rule.given.pack is rule.result.pack
    async with engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(uncommon.Pack)) == 1
    pack = await build(uncommon.Pack)
    rule = await build(uncommon.Rule, pack=pack)
    assert {rule.pack_id, rule.given.pack_id, rule.result.pack_id} == {pack.id}
    assert rule.given.pack is pack
    item = await build(uncommon.Item)
    rule = await build(uncommon.Rule, given=item)
    assert rule.pack is rule.result.pack is item.pack
    one, other = await build.many(uncommon.Rule, 2)
    assert one.pack_id != other.pack_id
    badge = await build(uncommon.Badge, pack=pack)
    assert (await build(uncommon.Rule, badge=badge, pack=pack)).badge is badge
    free = example(uncommon.Rule)
    assert free.pack is free.given.pack
    await engine.dispose()
