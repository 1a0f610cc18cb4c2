"""Command line that combines, judges and reports coverage data: `python -m stratakit.coverage`.

noxfile.py calls it; people run `nox -s coverage`.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from coverage import Coverage, CoverageData
from coverage.exceptions import CoverageException

from .. import liveness, location, project, results, runner, tiers
from ..errors import Code, InfrastructureError, StrataError
from ..pyproject import ROOT
from . import settings
from .gates import File, Gate, error_lines

TOLD = 10
"""Number of files or lines that a failed gate prints on the terminal."""
HINT = "uv run nox -s coverage"
DEFINITION = (
    "Error paths are the lines in `except` blocks and the `raise` statements, of those lines that "
    "coverage counts."
)


def main(words: Sequence[str] | None = None) -> Code:
    """Check the gates for the packages on the command line, and return the exit code."""
    parser = argparse.ArgumentParser(prog="stratakit.coverage", description="Judge coverage.")
    parser.add_argument("--results", type=Path, required=True, help="where to write the results")
    parser.add_argument("--left", type=Path, required=True, help="folder of the tiers' data")
    parser.add_argument("--python", help="Python that the tiers were asked to run with")
    parser.add_argument("--package", action="append", required=True, help="package; repeatable")
    liveness.join()
    options = parser.parse_args(words)
    gates: list[Gate] = []
    code, reason = Code.PASSED, None
    try:
        location.require(Path.cwd())
        gates = judge(options)
        missed = [each for each in gates if each.lines_short]
        if missed:
            said = (
                f"{each.name} ({each.percent:g} %, {each.wanted:g} % wanted)" for each in missed
            )
            code, reason = Code.FAILED, f"too few lines are covered: {', '.join(said)}"
    except StrataError as error:
        code, reason = error.code, str(error)
        sys.stderr.write(f"{error}\n")
    tests = [*map(record, gates)]
    results.write(options.results, json.dumps({"reason": reason, "tests": tests}))
    return code


def judge(options: argparse.Namespace) -> list[Gate]:
    """Write the reports next to the results, print the gates' outcomes, and return the gates.

    Raises:
        ConfigurationError: a setting is invalid.
        InfrastructureError: there is no data.
        StrataError: a file is not valid Python.
    """
    wanted = settings.load()
    chosen = [project.package(name) for name in options.package]
    sources = settings.sources(chosen)
    paths = [*chain.from_iterable(sources.values())]
    folder = options.results.parent
    data = folder / runner.COVERAGE_DATA
    coverage = combine(ROOT / options.left, options.python, chosen, paths, data)
    files = {name: [*read(coverage, paths)] for name, paths in sources.items()}
    every = tuple(chain.from_iterable(files.values()))
    gates = [Gate("overall", wanted.overall, every)]
    for glob in wanted.critical_paths:
        named = settings.files(glob)
        found = tuple(file for file in every if file.path in named)
        # If only some packages were requested, the path may belong to others.
        if found:
            gates.append(Gate(f"critical: {glob}", wanted.critical, found))
    errors = tuple(map(File.error_paths, every))
    gates.append(Gate("error paths", wanted.error_paths, errors, by_line=True))
    results.write(folder / "summary.md", page(gates, files))
    coverage.html_report(morfs=paths, directory=str(folder))
    coverage.json_report(morfs=paths, outfile=str(folder / "coverage.json"))
    coverage.xml_report(morfs=paths, outfile=str(folder / "coverage.xml"))
    for gate in gates:
        sys.stdout.write(f"{'FAILED' if gate.lines_short else 'ok':<7}{gate.summary_line}\n")
        if gate.lines_short:
            sys.stdout.writelines(f"       {line}\n" for line in gate.missing(TOLD))
    return gates


def combine(
    left: Path,
    python: str | None,
    packages: Sequence[project.Package],
    files: Iterable[str],
    to: Path,
) -> Coverage:
    """Combine the data of the measured tiers of `packages`, from `left` into the file `to`.

    `files` are included even if no test has imported them.

    Raises:
        InfrastructureError: a tier's data is missing or unreadable, or no line ran.
    """
    found: list[str] = []
    for tier in tiers.measured():
        for package in project.packages_of(tier):
            if package not in packages:
                continue
            folder = left / results.folder(tier.name, package.name, python)
            file = folder / runner.COVERAGE_DATA
            name = file.relative_to(ROOT)
            if not file.exists():
                raise InfrastructureError(
                    f"there is no {name}: the tier has not been measured", HINT
                )
            try:
                CoverageData(str(file)).read()
            except CoverageException as error:
                raise InfrastructureError(f"{name} cannot be read: {error}", HINT) from error
            found.append(str(file))
    coverage = Coverage(data_file=str(to), config_file=str(ROOT / "pyproject.toml"))
    coverage.combine(found, keep=True, strict=True)
    data = coverage.get_data()
    if not data.measured_files():
        raise InfrastructureError("the tests ran no line of services/ or libs/", HINT)
    for path in files:
        data.touch_file(path)
    return coverage


def read(coverage: Coverage, files: Iterable[str]) -> Iterator[File]:
    """Yield the files, with their counted and missing lines.

    Raises:
        StrataError: a file is not valid Python.
    """
    for file in files:
        try:
            _, lines, _, missing, ranges = coverage.analysis2(file)
            errors = error_lines((ROOT / file).read_bytes())
        except (CoverageException, SyntaxError) as error:
            raise StrataError(f"{file} cannot be read as Python: {error}", "correct it") from error
        yield File(file, frozenset(lines), frozenset(missing), errors, ranges)


def record(gate: Gate) -> dict[str, object]:
    """Return a gate in the form of a test result."""
    metrics = {"percent": gate.percent, "wanted": gate.wanted, "lines": gate.total}
    error = "\n".join([gate.summary_line, *gate.missing(TOLD)]) if gate.lines_short else None
    return {
        "name": gate.name,
        "status": "failed" if gate.lines_short else "passed",
        "duration": 0.0,
        "error": error,
        "metrics": metrics,
    }


def page(gates: Sequence[Gate], packages: Mapping[str, Sequence[File]]) -> str:
    """Return the full report as Markdown, for the summary of a CI job."""
    lines = ["## Coverage of unit and integration", ""]
    lines += ["| gate | covered | wanted | lines |  |", "| --- | --- | --- | --- | --- |"]
    for gate in gates:
        result = f"{gate.lines_short} lines short" if gate.lines_short else "passed"
        # As code, since Markdown would read a glob's asterisks as emphasis.
        lines.append(
            f"| `{gate.name}` | {gate.percent:g} % | {gate.wanted:g} % |"
            f" {gate.covered} of {gate.total} | {result} |"
        )
    lines += ["", "| package | lines | error paths |", "| --- | --- | --- |"]
    for name, files in packages.items():
        whole, errors = (
            Gate(name, 0, tuple(each)) for each in (files, map(File.error_paths, files))
        )
        lines.append(
            f"| `{name}` | {whole.percent:g} % of {whole.total} |"
            f" {errors.percent:g} % of {errors.total} |"
        )
    lines += ["", DEFINITION]
    overall, *_, error_paths = gates
    for title, gate in (
        ("Lines that no test runs", overall),
        ("Error paths that no test runs", error_paths),
    ):
        if missing := gate.missing():
            # Four backticks, since a source line may contain three.
            lines += ["", f"### {title}", "", "````", *missing, "````"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
