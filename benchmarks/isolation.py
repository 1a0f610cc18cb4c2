"""Costs of isolating tests: the ways to do it, side by side on one server.

A project is baked into a temporary folder, and `inside/` runs there: the same thirteen tables in ten
revisions, the same test that writes 26 rows to twelve of them and commits. The server is embedded,
and is removed afterwards with its data. Prints tables with the targets beside the figures, and
writes a picture; slowness never fails.

    nox -s "bench(isolation)" -- --output reports
"""

import argparse
import json
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from first_run import TEMPLATE, environment, run
from picture import Bar, Chart, draw

INSIDE = Path(__file__).with_name("inside")
PEERS = ("pytest-postgresql", "pgtestdbpy")
"""Packages that give each test a copy of a template."""
PICTURE = "isolation.svg"


@dataclass(frozen=True)
class Figures:
    """Measurements: medians, in milliseconds for single tests and seconds for the rest."""

    tests: dict[str, float]
    """Time of a test that writes, including its isolation, for each method."""
    around: dict[str, float]
    """The part of it before and after the test."""
    idle: dict[str, float]
    """Time of an empty test, with the default and without isolation."""
    suites: dict[str, float]
    starts: dict[str, float]
    resets: dict[str, float]


@dataclass(frozen=True)
class Goal:
    """A figure with a target."""

    name: str
    value: float
    target: str
    unit: str


def main() -> None:
    """Measure, print, and write the requested files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=4, help="turns that each method takes")
    parser.add_argument(
        "--tests", type=int, default=3, help="tests that are timed in a turn, at least"
    )
    parser.add_argument("--suites", type=int, default=1, help="runs of each suite of 150 tests")
    parser.add_argument("--json", type=Path, help="write figures and samples to this file")
    parser.add_argument("--output", type=Path, help=f"folder to write {PICTURE} to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder), options.rounds, options.tests, options.suites)
    figures = summary(measured)
    goals = judge(figures)
    show(measured["versions"], figures, goals)
    if options.json:
        shape = {"figures": vars(figures), "goals": [vars(each) for each in goals], **measured}
        options.json.write_text(json.dumps(shape) + "\n", encoding="utf-8")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / PICTURE).write_text(draw(charts(figures)), encoding="utf-8")


def measure(folder: Path, rounds: int, tests: int, suites: int) -> dict[str, Any]:
    """Return the samples that `inside/measure.py` takes in a fresh project."""
    # Unique: the server's folder has the same name, and is removed afterwards.
    name = f"bench-{secrets.token_hex(4)}"
    bake = (sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input", "--default-config")
    run(*bake, "--output-dir", str(folder), f"project_name={name}", "starter=blank", cwd=folder)
    project = folder / name
    run("uv", "sync", "--quiet", "--all-packages", "--all-groups", cwd=project)
    python = project / ".venv" / "bin" / "python"
    # Explicit, because nox points uv to its own environment.
    run("uv", "pip", "install", "--quiet", "--python", str(python), *PEERS, cwd=project)
    here = project / "bench"
    shutil.copytree(INSIDE, here)
    # An ordinary service, for the actions and the pytest plugin.
    shutil.move(here / "shop", project / "services" / "shop")
    file = folder / "samples.json"
    amount = ("--rounds", str(rounds), "--tests", str(tests), "--suites", str(suites))
    done = subprocess.run(
        [str(python), str(here / "measure.py"), str(file), *amount],
        cwd=project,
        env=environment(),
        check=False,
    )
    if done.returncode:
        sys.exit("the measurement has failed; the reason is above")
    measured: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return measured


def summary(measured: dict[str, Any]) -> Figures:
    """Return the medians of the samples."""
    writes, idle = (
        {
            name.removesuffix(f", {kind}"): samples
            for name, samples in measured["methods"].items()
            if name.endswith(f", {kind}")
        }
        for kind in ("writes", "idle")
    )
    return Figures(
        tests={name: _milliseconds(map(sum, samples)) for name, samples in writes.items()},
        around={
            name: _milliseconds(before + after for before, _, after in samples)
            for name, samples in writes.items()
        },
        idle={name: _milliseconds(map(sum, samples)) for name, samples in idle.items()},
        suites=_medians(measured["suites"]),
        starts=_medians(measured["starts"]),
        resets=_medians(measured["resets"]),
    )


def _milliseconds(seconds: Iterable[float]) -> float:
    return statistics.median(seconds) * 1000


def _medians(samples: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(found) for name, found in samples.items() if found}


def judge(figures: Figures) -> list[Goal]:
    """Return the figures that have targets."""
    own = "default"
    goals = [
        Goal("isolation of a test that writes", figures.around[own], "at most 2", "ms"),
        Goal(
            "isolation of a test that does not",
            figures.idle[own] - figures.idle["no isolation"],
            "at most 2",
            "ms",
        ),
        Goal("nothing running to migrated, warm", figures.starts["warm"], "at most 0.3", "s"),
        Goal("nothing running to migrated, cold", figures.starts["cold"], "under 2", "s"),
        Goal(
            "drop, create, migrate / db.reset",
            figures.resets["drop, create, migrate"] / figures.resets["db.reset"],
            "at least 5",
            "x",
        ),
    ]
    if figures.suites:
        fastest = min(figures.suites[name] for name in PEERS)
        ratio = fastest / figures.suites[own]
        goals.append(Goal("suite: fastest peer / default", ratio, "at least 5", "x"))
    return goals


def show(versions: dict[str, str], figures: Figures, goals: list[Goal]) -> None:
    """Print the tables."""
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    own = figures.tests["default"], figures.around["default"]
    print(
        f"\n{'a test that writes':24}{'ms':>10}{'x default':>11}{'isolation':>11}{'x default':>11}"
    )
    for name, value in figures.tests.items():
        around = figures.around[name]
        ratios = value / own[0], around / own[1]
        print(f"{name:24}{value:10.2f}{ratios[0]:11.2f}{around:11.2f}{ratios[1]:11.2f}")
    for title, values in (
        ("150 tests that write, s", figures.suites),
        ("from nothing running, s", figures.starts),
        ("test database anew, s", figures.resets),
    ):
        print(f"\n{title}")
        for name, value in values.items():
            print(f"{name:24}{value:10.2f}")
    print(f"\n{'median':36}{'':>10}    target")
    for goal in goals:
        print(f"{goal.name:36}{goal.value:10.2f} {goal.unit:2} {goal.target}")


def charts(figures: Figures) -> list[Chart]:
    """Return the charts of the picture."""
    return [
        Chart(f"{title}, {unit}", [Bar(name, value, name == own) for name, value in values.items()])
        for title, unit, values, own in (
            ("A test that writes", "ms", figures.tests, "default"),
            ("A suite of 150 such tests", "s", figures.suites, "default"),
            ("A test database anew", "s", figures.resets, "db.reset"),
        )
        if values
    ]


if __name__ == "__main__":
    main()
