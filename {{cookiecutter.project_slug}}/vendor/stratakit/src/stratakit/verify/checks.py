"""What came of the questions, for people and for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ..fingerprint import Difference

RESULTS = {True: "passed", False: "failed", None: "not asked"}


@dataclass(frozen=True, slots=True)
class Check:
    """The answer to one question; the stairway has several, one for each thing that is wrong."""

    name: str
    passed: bool | None
    """None if it could not be asked; `detail` says why."""
    detail: str
    differences: Sequence[Difference] = ()


class Answer(NamedTuple):
    """What a check says, without its name."""

    passed: bool | None
    detail: str
    differences: Sequence[Difference] = ()


def passed(detail: str) -> Answer:
    """Answer yes."""
    return Answer(passed=True, detail=detail)


def failed(detail: str, differences: Sequence[Difference] = ()) -> Answer:
    """Answer no, in a way that leads on."""
    return Answer(passed=False, detail=detail, differences=differences)


def not_asked(detail: str) -> Answer:
    """Answer that there is no sense in asking."""
    return Answer(passed=None, detail=detail)


def table(checks: Sequence[Check]) -> str:
    """Return the checks as a table of plain text, each with its differences below."""
    head = ("check", "result", "detail")
    rows = [head, *((each.name, RESULTS[each.passed], each.detail) for each in checks)]
    name, result, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [f"{row[0]:{name}}  {row[1]:{result}}  {row[2]}" for row in rows]
    return "\n".join(_with_differences(lines, checks))


def as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return the checks as what JSON can hold."""
    return [{**asdict(each), "result": RESULTS[each.passed]} for each in checks]


def _with_differences(lines: list[str], checks: Sequence[Check]) -> Iterator[str]:
    yield lines[0]
    for line, check in zip(lines[1:], checks, strict=True):
        yield line
        yield from (f"    {text}" for each in check.differences for text in str(each).splitlines())
