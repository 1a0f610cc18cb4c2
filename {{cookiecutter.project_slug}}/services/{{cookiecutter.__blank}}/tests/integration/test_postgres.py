"""Repository on PostgreSQL, beyond its contract."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from servicebase import errors

from {{ cookiecutter.__package }} import domain, models, ports

Row = models.{{ cookiecutter.__class }}Row
NOW = datetime.now(UTC)


async def test_a_violated_check_is_an_invalid_value_of_its_field(
    postgres_repository: ports.{{ cookiecutter.__class }}Repository,
) -> None:
    bad = domain.New{{ cookiecutter.__class }}(name="lamp", quantity=-1)
    with pytest.raises(errors.InvalidError) as caught:
        await postgres_repository.add(uuid4(), bad)
    assert caught.value.field == "quantity"


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        (sa.tuple_(Row.created_at, Row.id) < (NOW, UUID(int=0)), "created_at_id"),
        (sa.func.lower(Row.name).startswith("lamp", autoescape=True), "search"),
        (Row.tags.contains(["light"]), "tags"),
    ],
)
async def test_each_kind_of_query_has_its_index(
    engine: AsyncEngine, condition: sa.ColumnElement[bool], index: str
) -> None:
    query = sa.select(Row.id).where(condition)
    text = query.compile(engine.sync_engine, compile_kwargs={"literal_binds": True})
    async with engine.connect() as connection:
        # Otherwise PostgreSQL would scan a table of a few rows.
        await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = await connection.scalars(sa.text(f"EXPLAIN {text}"))
        assert f"ix_{Row.__tablename__}_{index}" in "\n".join(plan)
