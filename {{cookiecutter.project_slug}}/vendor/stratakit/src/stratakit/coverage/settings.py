"""The table `[tool.stratakit.coverage]`: how much has to be covered, and what is critical.

Standard library only, since noxfile.py reads it before any test runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from .. import pyproject
from ..errors import ConfigurationError
from ..project import packages, services
from ..pyproject import ROOT, refuse_unknown
from . import sources

WHOLE = 100
TABLE = "[tool.stratakit.coverage] of pyproject.toml"


@dataclass(frozen=True, slots=True)
class Settings:
    """What has to be covered, in percent of the lines."""

    overall: float
    error_paths: float
    critical: float
    """Of the files of each critical path."""
    critical_paths: tuple[str, ...]
    """Globs, relative to the project; `**` stands for any folders. Services add their own."""


def load() -> Settings:
    """Return the settings.

    Raises:
        ConfigurationError: a key is missing, unknown or of a wrong value, or a path names nothing.
    """
    table: dict[str, Any] = pyproject.table().get("coverage", {})
    known = [field.name for field in fields(Settings)]
    # Before what is missing, which a misspelt key is as well.
    refuse_unknown(table, known, TABLE)
    for key in {*known} - {*table}:
        raise ConfigurationError(f"{TABLE} lacks the key {key}", f"its keys are {', '.join(known)}")
    *percentages, paths = known
    for key in percentages:
        _refuse_no_percentage(key, table[key])
    _refuse_no_globs(f"{paths} in {TABLE}", table[paths])
    return Settings(**{**table, paths: (*table[paths], *_of_services())})


def files(glob: str) -> frozenset[str]:
    """Return the files of a critical path."""
    return frozenset(path.relative_to(ROOT).as_posix() for path in ROOT.glob(glob))


def _of_services() -> Iterator[str]:
    """Yield the critical paths that services name themselves."""
    for service in services():
        home = service.path.relative_to(ROOT).as_posix()
        globs = [f"{home}/{glob}" for glob in service.critical]
        _refuse_no_globs(f"critical in [tool.stratakit.service] of {home}/pyproject.toml", globs)
        yield from globs


def _refuse_no_percentage(key: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= WHOLE:
        raise ConfigurationError(
            f"{key} = {value!r} in {TABLE} is not a number from 0 to 100",
            f"write a number from 0 to {WHOLE}, for example: {key} = 80",
        )


def _refuse_no_globs(where: str, value: object) -> None:
    key = where.partition(" ")[0]
    example = f'write globs, for example: {key} = ["services/*/src/*/domain.py"]'
    if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
        raise ConfigurationError(f"{where} is no list of texts", example)
    covered = frozenset(chain.from_iterable(sources.packages(packages()).values()))
    for glob in value:
        try:
            found = files(glob)
        except (ValueError, NotImplementedError) as error:
            raise ConfigurationError(f"{where} holds {glob!r}: {error}", example) from None
        if covered.isdisjoint(found):
            raise ConfigurationError(
                f"{where} holds {glob!r}, which is no Python file of a service's"
                " or a library's src/",
                f"correct the path, or take it out; {example}",
            )
