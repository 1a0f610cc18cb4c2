"""`python -m stratakit.coverage`: put the tiers' data together, judge it, write the reports.

noxfile.py calls it; for people it is `nox -s coverage`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from coverage import Coverage

from .. import liveness, location, project, pyproject, results, runner
from ..errors import Code, StrataError
from . import markdown, measurements, settings, sources
from .gates import Gate, gates

TOLD = 10
"""How many files or lines a gate that is missed names on the terminal."""


def main(words: Sequence[str] | None = None) -> Code:
    """Do what `words` say and return the exit code."""
    liveness.join()
    wish = parser().parse_args(words)
    judged: list[Gate] = []
    try:
        location.require(Path.cwd())
        judged = judge(wish)
        code, reason = _verdict(judged)
    except StrataError as error:
        code, reason = error.code, str(error)
        sys.stderr.write(f"{error}\n")
    results.write(wish.results, json.dumps({"reason": reason, "tests": [*map(record, judged)]}))
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="stratakit.coverage", description="Judge coverage.")
    made.add_argument("--results", type=Path, required=True, help="what came of it, as JSON")
    made.add_argument("--left", type=Path, required=True, help="where tiers have left their data")
    made.add_argument("--python", help="the one that they were asked to run with")
    made.add_argument("--package", action="append", required=True, help="one to judge; repeatable")
    return made


def judge(wish: argparse.Namespace) -> list[Gate]:
    """Write the reports beside the results, print what the gates say, and return them.

    Raises:
        ConfigurationError: a setting is wrong.
        InfrastructureError: there is no data.
        StrataError: a file is no Python.
    """
    wanted = settings.load()
    chosen = [project.package(name) for name in wish.package]
    packages = sources.packages(chosen)
    paths = [*chain.from_iterable(packages.values())]
    folder = wish.results.parent
    data = folder / runner.COVERAGE_DATA
    coverage = measurements.combine(pyproject.ROOT / wish.left, wish.python, chosen, paths, data)
    files = {name: [*measurements.read(coverage, paths)] for name, paths in packages.items()}
    judged = gates(chain.from_iterable(files.values()), wanted)
    results.write(folder / "summary.md", markdown.page(judged, files))
    _write_reports(coverage, paths, folder)
    for gate in judged:
        sys.stdout.write(f"{'FAILED' if gate.lacking else 'ok':<7}{markdown.told(gate)}\n")
        sys.stdout.writelines(f"       {line}\n" for line in _where(gate))
    return judged


def record(gate: Gate) -> dict[str, object]:
    """Return a gate as one of the results of a tier."""
    metrics = {"percent": gate.percent, "wanted": gate.wanted, "lines": gate.total}
    return {
        "name": gate.name,
        "status": "failed" if gate.lacking else "passed",
        "duration": 0.0,
        "error": "\n".join([markdown.told(gate), *_where(gate)]) if gate.lacking else None,
        "metrics": metrics,
    }


def _verdict(judged: Sequence[Gate]) -> tuple[Code, str | None]:
    missed = ", ".join(
        f"{gate.name} ({gate.percent:g} %, {gate.wanted:g} % wanted)"
        for gate in judged
        if gate.lacking
    )
    return (Code.FAILED, f"too little is covered: {missed}") if missed else (Code.PASSED, None)


def _where(gate: Gate) -> list[str]:
    return markdown.missing(gate, TOLD) if gate.lacking else []


def _write_reports(coverage: Coverage, files: Sequence[str], folder: Path) -> None:
    coverage.html_report(morfs=files, directory=str(folder))
    coverage.json_report(morfs=files, outfile=str(folder / "coverage.json"))
    coverage.xml_report(morfs=files, outfile=str(folder / "coverage.xml"))


if __name__ == "__main__":
    sys.exit(main())
