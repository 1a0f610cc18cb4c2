"""Expecting an error, and saying what came instead where it does not come."""

from types import TracebackType
from typing import Generic, TypeVar

E = TypeVar("E", bound=BaseException)

_NOTHING = object()


class raises_error(Generic[E]):  # noqa: N801 - it reads as a function, as pytest.raises does
    """Expect the block to raise an error, in a `with` around whatever it is, an `await` too.

        with raises_error(ConflictError, field="name", containing="another one") as caught:
            await repository.add(...)
        assert caught.error.field == "name"

    An error of a subclass will do. So will a group that holds nothing else, as a TaskGroup raises
    it; of a group with several errors none is taken for the expected one.
    """

    error: E
    """The error that was raised, once the block is left."""

    def __init__(self, expected: type[E], *, containing: str = "", **attributes: object) -> None:
        """State what is expected.

        Args:
            expected: the type of the error.
            containing: what its text must contain.
            attributes: attributes that it must have, with their values.
        """
        self._expected = expected
        self._containing = containing
        self._attributes = attributes

    def __enter__(self) -> "raises_error[E]":
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        __tracebackhide__ = True
        if raised is None:
            raise AssertionError(f"nothing was raised, where {self._wanted} should have been")
        error = self._sole(raised)
        if not isinstance(error, self._expected):
            if not isinstance(raised, Exception):
                # Ctrl-C, a cancelled task, pytest.fail: not about the code under test.
                return False
            raise AssertionError(
                f"{_shown(raised)} was raised, where {self._wanted} should have been"
            ) from raised
        if wrong := self._differences(error):
            raise AssertionError(
                f"{type(error).__name__} was raised as it should be, but {' and '.join(wrong)}"
            ) from raised
        self.error = error
        return True

    def _sole(self, error: BaseException) -> BaseException:
        """Return the one error that a group holds, unless a group is what is expected."""
        while (
            isinstance(error, BaseExceptionGroup)
            and not isinstance(error, self._expected)
            and len(error.exceptions) == 1
        ):
            error = error.exceptions[0]
        return error

    def _differences(self, error: E) -> list[str]:
        wrong = []
        if self._containing not in str(error):
            wrong.append(f"its text is {str(error)!r}, which does not contain {self._containing!r}")
        for name, value in self._attributes.items():
            found = getattr(error, name, _NOTHING)
            if found is _NOTHING:
                wrong.append(f"it has no attribute {name!r}")
            elif found != value:
                wrong.append(f"its {name} is {found!r}, not {value!r}")
        return wrong

    @property
    def _wanted(self) -> str:
        having = [f"containing {self._containing!r}"] if self._containing else []
        having += [f"{name}={value!r}" for name, value in self._attributes.items()]
        return self._expected.__name__ + (f" ({', '.join(having)})" if having else "")


def _shown(error: BaseException) -> str:
    """Return an error as a reader knows it; of a group, each that it holds."""
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__} of [{', '.join(map(_shown, error.exceptions))}]"
    return f"{type(error).__name__}({str(error)!r})"
