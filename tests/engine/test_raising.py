"""An expected error passes; whatever else happens is told in full."""

import asyncio
from typing import Any

import pytest
from stratakit.testing import raises_error


class WrongError(Exception):
    field = "name"


class OtherFieldError(WrongError):
    field = "id"


def test_the_expected_error_passes_and_is_kept() -> None:
    with raises_error(WrongError, containing="is taken", field="name") as caught:
        raise WrongError("name is taken")
    assert caught.error.field == "name"


def test_a_more_special_error_passes() -> None:
    with raises_error(WrongError) as caught:
        raise OtherFieldError
    assert type(caught.error) is OtherFieldError


async def test_an_error_of_what_is_awaited_passes() -> None:
    async def wrong() -> None:
        raise WrongError

    with raises_error(WrongError):
        await asyncio.create_task(wrong())


async def test_a_group_counts_as_the_one_error_that_it_holds() -> None:
    async def wrong() -> None:
        raise WrongError

    with raises_error(WrongError, field="name") as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(wrong())
    assert type(caught.error) is WrongError


def test_a_group_can_be_expected_itself() -> None:
    with raises_error(ExceptionGroup, containing="both") as caught:
        raise ExceptionGroup("both", [WrongError(), ValueError()])
    assert len(caught.error.exceptions) == 2


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (None, "nothing was raised, where WrongError (containing 'is taken', field='name')"),
        (ValueError("x"), "ValueError('x') was raised, where WrongError"),
        (WrongError("x"), "its text is 'x', which does not contain 'is taken'"),
        (OtherFieldError("is taken"), "its field is 'id', not 'name'"),
        (
            ExceptionGroup("two", [WrongError("y"), ValueError("x")]),
            "ExceptionGroup of [WrongError('y'), ValueError('x')] was raised",
        ),
    ],
)
def test_anything_else_fails_with_what_it_was(raised: Exception | None, message: str) -> None:
    caught = failure(raised, containing="is taken", field="name")
    assert message in str(caught)
    assert caught.__cause__ is raised


def failure(raised: Exception | None, **wanted: Any) -> AssertionError:
    """Return how it fails that something is raised where a WrongError is wanted."""
    try:
        with raises_error(WrongError, **wanted):
            if raised:
                raise raised
    except AssertionError as error:
        return error
    raise LookupError("it did not fail")


def test_an_attribute_that_is_missing_is_named() -> None:
    assert "it has no attribute 'status'" in str(failure(WrongError(), status=409))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_is_no_fault_of_the_code_passes_through(interruption: type[BaseException]) -> None:
    with pytest.raises(interruption), raises_error(WrongError):
        raise interruption


def test_an_exit_can_be_expected() -> None:
    with raises_error(SystemExit, code=3):
        raise SystemExit(3)
