"""Values for all fields, which reveal an adapter that loses one."""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import pytest
from stratakit.testing.contracts import filled


class Size(enum.Enum):
    """An enum, whose first member is not the default of a field by itself."""

    SMALL = "s"
    LARGE = "l"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a whole."""

    number: int = 7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base class with inherited fields."""

    id: UUID
    name: str = "lamp"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Base):
    """A field of each type that domains use."""

    size: Size = Size.SMALL
    role: Literal["member", "admin"] = "member"
    on: bool = True
    note: str | None = None
    ends_at: datetime | None = None
    short: Annotated[str, "whatever stands here"] = ""
    tags: tuple[str, ...] = ()
    place: tuple[float, float] = (0.5, 0.5)
    rest: dict[str, object] = dataclasses.field(default_factory=dict)
    prices: Mapping[str, int] = dataclasses.field(default_factory=dict)
    parts: Sequence[Part] = ()
    part: Part = Part()
    numbers: frozenset[int] = frozenset()
    more: Any = None


class Changes(TypedDict, total=False):
    """Fields to replace."""

    name: str
    tags: tuple[str, ...]


def test_filled_gives_no_field_its_default() -> None:
    one = filled(Whole)
    assert {
        field.name
        for field in dataclasses.fields(Whole)
        if getattr(one, field.name) == field.default
        or (
            field.default_factory is not dataclasses.MISSING
            and getattr(one, field.name) == field.default_factory()
        )
    } == set()


def test_filled_values_match_the_types_of_their_fields() -> None:
    one = filled(Whole)
    assert (one.size, one.role, one.on) == (Size.LARGE, "admin", False)
    assert isinstance(one.ends_at, datetime)
    assert one.ends_at.tzinfo is not None
    assert one.parts == (Part(number=8),)
    assert [type(number) for number in one.place] == [float, float]
    assert [*one.prices.values()] == [7]


def test_filled_changes_differ_from_the_original_in_every_field() -> None:
    one = filled(Whole)
    changes = filled(Changes, unlike=one)
    assert changes.keys() == {"name", "tags"}
    assert (one.name, one.tags) not in {(changes["name"], one.tags), (one.name, changes["tags"])}


def test_a_given_value_is_used() -> None:
    assert filled(Whole, name="desk", on=True).name == "desk"


def test_an_unsupported_field_type_is_named_with_a_hint() -> None:
    other = dataclasses.make_dataclass("Other", [("thing", complex)])
    with pytest.raises(TypeError, match=r"Other.thing: no value is known of .*; hint: filled\("):
        filled(other)
    assert filled(other, thing=1j) == other(1j)
