"""A newcomer's waiting times: from nothing to a bake, and from there to green tiers.

Every row begins with a fresh bake and fresh environments; package caches are warm, as after the first
row of the first round. Servers are embedded. Prints the median of some rounds, and the target.

    nox -s "bench(first_run)" -- --rounds 3 --starter blank
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """A wait to measure: commands in the project, after untimed ones."""

    name: str
    target: float
    """Target in seconds, on two otherwise idle cores."""
    commands: tuple[tuple[str, ...], ...]
    before: tuple[tuple[str, ...], ...] = ()
    bakes: bool = True


STARTERS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))["starter"]
LOCK = ("uv", "lock", "--quiet")
STATIC, UNIT, INTEGRATION = (("nox", "-s", name) for name in ("static", "unit", "integration"))
ALL = ("nox",)
ROWS = (
    Row("bake", 1, ()),
    Row("bake and static", 30, (LOCK, STATIC)),
    Row("static again", 10, (STATIC,), before=(LOCK, STATIC), bakes=False),
    Row("bake and unit", 8, (LOCK, UNIT)),
    Row("bake and integration", 20, (LOCK, INTEGRATION)),
    Row("bake and the default tiers", 60, (LOCK, ALL)),
    Row("integration again", 4, (INTEGRATION,), before=(LOCK, INTEGRATION), bakes=False),
    Row(
        "integration again, nox -R",
        4,
        ((*INTEGRATION, "-R"),),
        before=(LOCK, INTEGRATION),
        bakes=False,
    ),
)


def main() -> None:
    """Print the table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--starter", choices=STARTERS, default=STARTERS[0])
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {row.name: [] for row in ROWS}
    # Removed only at the end: ext4 does not reuse an inode for a minute or more after its file was
    # removed, and creating a file scans all of those first.
    with tempfile.TemporaryDirectory() as home:
        for _ in range(options.rounds):
            for row in ROWS:
                folder = Path(tempfile.mkdtemp(dir=home))
                seconds[row.name].append(measure(row, folder, options.starter))
    print(f"{'median of ' + str(options.rounds):32} {'seconds':>8} {'target':>8}")
    for row in ROWS:
        print(f"{row.name:32} {statistics.median(seconds[row.name]):8.2f} {row.target:8.0f}")
    if options.json:
        options.json.write_text(json.dumps(seconds, indent=2) + "\n", encoding="utf-8")


def measure(row: Row, folder: Path, starter: str) -> float:
    """Return the seconds that a row takes with a starter."""
    bake = (sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input", "--default-config")
    project = folder / "acme"
    start = time.perf_counter()
    run(*bake, "--output-dir", str(folder), f"starter={starter}", cwd=folder)
    for command in row.before:
        run(*command, cwd=project)
    if not row.bakes:
        start = time.perf_counter()
    for command in row.commands:
        run(*command, cwd=project)
    return time.perf_counter() - start


def run(*command: str, cwd: Path) -> None:
    """Run a command; exit with its output if it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} -> {done.returncode}\n{done.stdout}")


def environment() -> dict[str, str]:
    """Return the environment of commands in a baked project, without the calling session's."""
    # Bytecode is cached, as in nox's sessions: otherwise compiling packages would dominate.
    leaking = (
        *("NOX", "VIRTUAL_ENV", "UV_PROJECT", "STRATA_", "PYTEST_"),
        *("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(leaking)}
    return {**env, "STRATA_SERVERS": "embedded"}


if __name__ == "__main__":
    main()
