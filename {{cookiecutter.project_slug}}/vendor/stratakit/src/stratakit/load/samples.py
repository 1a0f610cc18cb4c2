"""Orders for the processes that make requests, and the raw samples that they write.

All samples are kept, so that percentiles are exact and several processes can be merged; a histogram
allows neither. A sample takes 28 bytes: ten minutes at 1,000 requests a second are 17 MB.

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
"""A sample: its start in seconds, since the epoch or, in a window, since the window's start; its
latency in ms; the name of the request; the kind of timing; the error, if any."""
REQUEST = "request"
"""Kind of timing: a whole response, to its last byte; also of a stream."""
TTFT, ITL = "ttft", "itl"
"""Kinds of timing of a stream: time to first token, and inter-token latency."""

_ORDER = "STRATA_LOAD"
"""Variable with the order of a phase, as JSON."""
_COLUMNS = ("d", "d", "I", "I", "I")


@dataclass(frozen=True, slots=True)
class Order:
    """Settings of a phase."""

    folder: str
    """Folder to write to."""
    warm_up: float
    """Seconds at the start during which nothing is counted."""
    seconds: float
    """Seconds that are counted after that."""
    users: int
    rate: float | None
    """Arrivals per second of all processes together; None for a closed phase."""
    processes: int

    @classmethod
    def given(cls) -> "Order":
        """Return the order of this process."""
        return cls(**json.loads(os.environ[_ORDER]))

    def variables(self) -> dict[str, str]:
        """Return the environment variables that pass it to a process."""
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
        """Return the samples started within `seconds` of `start`, with times relative to it."""
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
        """Return the samples of all files together."""
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
    """Performance of the load generator itself."""

    late_p99_ms: float
    """99th percentile of its lateness."""
    cpu: float
    """Share of a core used by its busiest process."""


@dataclass(frozen=True, slots=True)
class PhaseRun:
    """Results of a phase, without its warm-up."""

    samples: Samples
    began: float
    """Time when counting started, in seconds since the epoch."""
    seconds: float
    generator: Generator
    tasks: int
    """Number of tasks of the scenario that were started; each makes one or more requests."""
