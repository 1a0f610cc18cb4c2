"""Contract of the repository, for both the fake and the real one: this service's own part.

The kit tests the rest: adding, reading, changing, removing, and pages.
"""

from dataclasses import asdict, replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from servicebase import errors
from stratakit.testing import contracts

from {{ cookiecutter.__package }} import domain, ports
from {{ cookiecutter.__package }}.api import schemas

# Any code point, valid or not. (st.text would spend a second on Unicode tables.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=20).map("".join)
# PostgreSQL stores numbers as decimals: a large float comes back as an equal integer.
SCALARS = st.none() | st.booleans() | st.integers() | TEXT | st.floats(-1e15, 1e15)
ATTRIBUTES = st.dictionaries(TEXT, SCALARS, max_size=3)
Repository = ports.{{ cookiecutter.__class }}Repository
repository = contracts.adapters("memory_repository", "postgres_repository")


async def add(repository: Repository, name: str, **more: Any) -> domain.{{ cookiecutter.__class }}:
    return await repository.add(uuid4(), domain.New{{ cookiecutter.__class }}(name=name, **more))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # Each example has its id.
@given(name=TEXT, quantity=st.integers(0, domain.QUANTITY_LIMIT), attributes=ATTRIBUTES)
async def test_valid_values_come_back_unchanged(
    repository: Repository, name: str, **rest: object
) -> None:
    try:
        body = {"name": f"{uuid4()}{name}", **rest}
        new = schemas.{{ cookiecutter.__class }}Create.model_validate(body).new()
    except ValidationError:
        return
    added = await repository.add(uuid4(), new)
    stored = asdict(await repository.get(added.id))
    assert stored == {**stored, **rest, "name": new.name}


async def test_every_field_is_kept_and_can_be_replaced(repository: Repository) -> None:
    new = contracts.filled(domain.New{{ cookiecutter.__class }})
    before = await repository.add(uuid4(), new)
    assert asdict(before) == {**asdict(before), **asdict(new)}
    assert await repository.get(before.id) == before
    changes = contracts.filled(domain.{{ cookiecutter.__class }}Changes, unlike=before)
    assert changes.keys() == asdict(new).keys()
    after = await repository.update(before.id, changes)
    assert after == replace(before, **changes, updated_at=after.updated_at)
    assert await repository.get(before.id) == after


async def test_a_taken_name_is_a_conflict(repository: Repository) -> None:
    await add(repository, "lamp")
    other = await add(repository, "Lamp")
    for attempt in (add(repository, "lamp"), repository.update(other.id, {"name": "lamp"})):
        with pytest.raises(errors.ConflictError) as caught:
            await attempt
        assert caught.value.field == "name"


@pytest.mark.parametrize(
    ("names", "texts"),
    [
        (["lamps", "Lamp"], ["lam", "LAM"]),
        (["50% off"], ["50%"]),
        (["c:\\temp"], ["c:\\"]),
        (["Lamp"], ["Office"]),
        ([], ["amp", "lamp_", "l%", "desk", "off"]),
        (["c:\\temp", "50% off", "lamps", "Lamp"], [""]),
    ],
)
async def test_search_matches_the_beginning_of_the_name_or_a_whole_tag(
    repository: Repository, names: list[str], texts: list[str]
) -> None:
    await add(repository, "Lamp", tags=("light", "office"))
    await add(repository, "lamps", tags=("office-2",))
    await add(repository, "50% off")
    await add(repository, "c:\\temp")
    for text in texts:
        assert [each.name for each in await repository.page(limit=9, search=text)] == names
