"""Coverage's data: what the tiers have left, put together and read line by line."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from coverage import Coverage, CoverageData
from coverage.exceptions import CoverageException

from .. import results, runner, tiers
from ..errors import InfrastructureError, StrataError
from ..project import Package, packages_of
from ..pyproject import ROOT
from .error_paths import error_lines
from .gates import File

HINT = "uv run nox -s coverage"


def combine(
    left: Path, python: str | None, packages: Sequence[Package], files: Iterable[str], to: Path
) -> Coverage:
    """Return what the measured tiers of `packages` have left in `left`, as one in the file `to`.

    `files` are in it even if no test has imported them.

    Raises:
        InfrastructureError: a tier has left no data, or none that can be read, or nothing ran.
    """
    found = [
        _data(left / results.folder(tier.name, each.name, python))
        for tier in tiers.measured()
        for each in packages_of(tier)
        if each in packages
    ]
    coverage = Coverage(data_file=str(to), config_file=str(ROOT / "pyproject.toml"))
    coverage.combine([str(file) for file in found], keep=True, strict=True)
    data = coverage.get_data()
    if not data.measured_files():
        raise InfrastructureError("the tests ran not one line of services/ or libs/", HINT)
    for file in files:
        data.touch_file(file)
    return coverage


def read(coverage: Coverage, files: Iterable[str]) -> Iterator[File]:
    """Yield the files, with the lines that count and those that are missing.

    Raises:
        StrataError: a file is no Python.
    """
    for file in files:
        try:
            _, lines, _, missing, _ = coverage.analysis2(file)
            errors = error_lines((ROOT / file).read_bytes())
        except (CoverageException, SyntaxError) as error:
            raise StrataError(f"{file} cannot be read as Python: {error}", "correct it") from error
        yield File(file, frozenset(lines), frozenset(missing), errors)


def _data(folder: Path) -> Path:
    file = folder / runner.COVERAGE_DATA
    name = file.relative_to(ROOT)
    if not file.exists():
        raise InfrastructureError(f"there is no {name}: the tier has not been measured", HINT)
    try:
        CoverageData(str(file)).read()
    except CoverageException as error:
        raise InfrastructureError(f"{name} cannot be read: {error}", HINT) from error
    return file
