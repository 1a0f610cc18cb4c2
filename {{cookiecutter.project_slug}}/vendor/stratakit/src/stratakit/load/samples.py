"""What each process that makes requests is told, and the raw samples that it and a phase leave.

Samples are kept whole, so that percentiles are exact and those of several processes can be merged;
a histogram is neither. One takes 28 bytes: ten minutes at 1,000 requests a second are 17 MB.

Standard library only.
"""

import json
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

Row = tuple[float, float, str, str, str | None]
"""One sample: when it was started, in seconds since the epoch or, in a window, since its start; its
latency in ms; the name of the request; what was timed; what went wrong, if anything did."""
REQUEST = "request"
"""What was timed: a whole answer, to its last byte. A stream is one, too."""
TTFT, ITL = "ttft", "itl"
"""What was timed of a stream: the time to the first token, and from each to the next."""

_ORDER = "STRATA_LOAD"
"""The variable that holds the order of a phase, as JSON."""
_COLUMNS = ("d", "d", "I", "I", "I")


@dataclass(frozen=True, slots=True)
class Order:
    """What a phase is to do."""

    folder: str
    """Where to write."""
    warm_up: float
    """Seconds at the beginning of which nothing counts."""
    seconds: float
    """How long it counts after that."""
    users: int
    rate: float | None
    """Arrivals a second, of all processes together; None for a closed phase."""
    processes: int

    @classmethod
    def given(cls) -> "Order":
        """Return the order of this process."""
        return cls(**json.loads(os.environ[_ORDER]))

    def variables(self) -> dict[str, str]:
        """Return what gives it to a process that is to be started."""
        return {_ORDER: json.dumps(asdict(self))}


class Samples:
    """Samples in the order in which they were taken."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._columns: tuple[array[Any], ...] = tuple(array(code) for code in _COLUMNS)
        self._texts: dict[str | None, int] = {None: 0}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Add a sample."""
        for column, value in zip(self._columns, row, strict=True):
            column.append(value if isinstance(value, float) else self._number(value))

    def __len__(self) -> int:
        return len(self._columns[0])

    def __iter__(self) -> Iterator[Row]:
        texts = list(self._texts)
        for started, latency, name, timed, error in zip(*self._columns, strict=True):
            yield started, latency, texts[name] or "", texts[timed] or "", texts[error]

    def window(self, start: float, seconds: float) -> Self:
        """Return those that were started within `seconds` of `start`, which is their 0."""
        return type(self)(
            (started - start, latency, name, timed, error)
            for started, latency, name, timed, error in self
            if start <= started < start + seconds
        )

    def save(self, file: Path) -> None:
        """Write them to a file."""
        with file.open("wb") as stream:
            stream.write(json.dumps([len(self), *list(self._texts)[1:]]).encode() + b"\n")
            for column in self._columns:
                column.tofile(stream)

    @classmethod
    def load(cls, files: Iterable[Path]) -> Self:
        """Return those of all files together."""
        found = cls()
        for file in files:
            part = cls()
            with file.open("rb") as stream:
                count, *texts = json.loads(stream.readline())
                part._texts |= {text: number for number, text in enumerate(texts, 1)}
                for column in part._columns:
                    column.fromfile(stream, count)
            for row in part:
                found.add(row)
        return found

    def _number(self, text: str | None) -> int:
        return self._texts.setdefault(text, len(self._texts))


@dataclass(frozen=True, slots=True)
class Generator:
    """How the generator of the requests itself has fared."""

    late_p99_ms: float
    """By how much it was late: 99th percentile."""
    cpu: float
    """The share of a core that its busiest process took."""


@dataclass(frozen=True, slots=True)
class PhaseRun:
    """What a phase has left, without its warm-up."""

    samples: Samples
    began: float
    """When it began to count, in seconds since the epoch."""
    seconds: float
    generator: Generator
    tasks: int
    """How many tasks of the scenario were begun; each makes one request or several."""
