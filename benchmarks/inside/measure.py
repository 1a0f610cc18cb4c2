"""Runs inside a baked project, in its environment: measures, and prints samples as JSON.

Competitors take turns in a random order, so that changes in the machine's speed affect all of them.
Only the test itself is timed: not setting up a method, nor checking that it isolates.
"""

import argparse
import fcntl
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from methods import METHODS, Connection, Ground, Test
from schema import untouched, write, write_revisions
from stratakit import database, project, pyproject, servers, settings
from stratakit.database.lifecycle import Database
from stratakit.servers.home import cache

PACKAGES = "alembic pgtestdbpy psycopg pytest pytest-postgresql sqlalchemy".split()
WARM_UP = 2
"""Number of unmeasured tests per turn: connections prepare statements, spares run out."""
TURN, ENOUGH = 0.5, 300
"""Minimum seconds of a turn, and the number of tests that ends it early."""
SUITES = {
    "no isolation": ("suites.unisolated", ("stratakit", "pytest_postgresql")),
    "default": ("suites.default", ("pytest_postgresql",)),
    "pytest-postgresql": ("suites.by_pytest_postgresql", ("stratakit",)),
    "pgtestdbpy": ("suites.by_pgtestdbpy", ("stratakit", "pytest_postgresql")),
}
"""Module with the fixture `connection` of each suite, and the plugins to switch off."""
STARTS = {"cold": 3, "warm": 9}
RESETS = 8

Body = Callable[[Connection], None]
Sample = tuple[float, float, float]
"""Seconds before, in and after a test."""
Samples = dict[str, list[Any]]
Up = dict[servers.Kind, servers.Server]


def main() -> None:
    """Measure everything and write it to the given file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--tests", type=int, required=True)
    parser.add_argument("--suites", type=int, required=True)
    options = parser.parse_args()
    write_revisions(pyproject.ROOT / "services" / "shop" / "migrations" / "versions")
    service = project.service("shop")
    try:
        measured: dict[str, Any] = {"starts": starts(service)}
        with servers.lease(settings.load()) as up:
            address = up["postgres"].url
            with database.run(address) as run:
                ground = Ground.of(address, run, service)
                measured["versions"] = versions(ground)
                measured["resets"] = resets(up, service)
                measured["methods"] = methods(ground, options.rounds, options.tests)
            measured["suites"] = suites(address, options.suites)
        stopped()
    finally:
        shutil.rmtree(cache(), ignore_errors=True)
    options.file.write_text(json.dumps(measured), encoding="utf-8")


def versions(ground: Ground) -> dict[str, str]:
    """Return the versions of everything that affects the figures."""
    with database.connect(ground.server) as connection:
        (postgres,) = connection.execute("SHOW server_version").fetchone() or ("?",)
    found = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "PostgreSQL": postgres, **found}


def starts(service: project.Service) -> Samples:
    """Time, in seconds, the way from nothing running to a private migrated database."""
    found: Samples = defaultdict(list)
    for kind, times in STARTS.items():
        for _ in range(times):
            say(f"starts, {kind}")
            if kind == "cold":
                shutil.rmtree(cache(), ignore_errors=True)
            found[kind].append(start(service))
            stopped()
    return found


def start(service: project.Service) -> float:
    """Start a server, and query a private migrated database; return the seconds."""
    began = time.perf_counter()
    with servers.lease(settings.load(), ("postgres",)) as up:
        address = up["postgres"].url
        with database.run(address) as run:
            ground = Ground.of(address, run, service)
            with ground.copy() as name, database.connect(address, name) as connection:
                connection.execute("SELECT FROM payment")
                return time.perf_counter() - began


def stopped() -> None:
    """Wait until the servers have exited: their supervisors hold a lock until then."""
    for file in cache().glob("*/supervisor.lock"):
        with file.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)


def resets(up: Up, service: project.Service) -> Samples:
    """Time `db.reset` and its alternative, in seconds; of two runs in a row, the second counts."""
    it = Database(up["postgres"], service)
    it.setup()

    def anew() -> None:
        it.drop()
        it.create()
        it.migrate()

    found: Samples = defaultdict(list)
    ways: dict[str, Callable[[], object]] = {"db.reset": it.reset, "drop, create, migrate": anew}
    for number in range(RESETS + 1):
        say(f"resets, round {number}")
        for name in shuffled(ways):
            # Untimed: a new database lacks the notes that a first reset leaves.
            ways[name]()
            began = time.perf_counter()
            ways[name]()
            # The first round is the warm-up.
            if number:
                found[name].append(time.perf_counter() - began)
    it.drop()
    return found


def methods(ground: Ground, rounds: int, tests: int) -> Samples:
    """Time single tests; each method takes a turn in each round."""
    found: Samples = {f"{name}, {kind}": [] for name in METHODS for kind in ("writes", "idle")}
    for number in range(1, rounds + 1):
        for name in shuffled(METHODS):
            say(f"methods, round {number} of {rounds}: {name}")
            with METHODS[name](ground) as test:
                isolates = name != "no isolation"
                found[f"{name}, writes"] += turn(test, write, tests, check=isolates)
                if name in ("no isolation", "default"):
                    found[f"{name}, idle"] += turn(test, nothing, tests, check=False)
    return {name: samples for name, samples in found.items() if samples}


def turn(test: Test, body: Body, tests: int, *, check: bool) -> list[Sample]:
    """Time at least `tests` tests, and more if they are fast."""
    for _ in range(WARM_UP):
        sample(test, body, check=check)
    found: list[Sample] = []
    end = time.perf_counter() + TURN
    while len(found) < tests or (len(found) < ENOUGH and time.perf_counter() < end):
        found.append(sample(test, body, check=check))
    return found


def sample(test: Test, body: Body, *, check: bool) -> Sample:
    """Time one test: its setup, its body, its teardown."""
    clock = time.perf_counter
    began = clock()
    with test() as connection:
        before = clock() - began
        if check and not untouched(connection):
            sys.exit("a test has found the rows of another one")
        began = clock()
        body(connection)
        within = clock() - began
        began = clock()
    return round(before, 7), round(within, 7), round(clock() - began, 7)


def nothing(_: object) -> None:
    """Do nothing, like a test that needs no database."""


def suites(server: str, rounds: int) -> Samples:
    """Time whole runs of pytest, in seconds."""
    found: Samples = {name: [] for name in SUITES}
    for number in range(1, rounds + 1):
        for name in shuffled(SUITES):
            say(f"suites, round {number} of {rounds}: {name}")
            found[name].append(suite(server, *SUITES[name]))
    return found


def suite(server: str, plugin: str, without: tuple[str, ...]) -> float:
    """Run the tests once with the fixture `connection` of `plugin`."""
    here = str(Path(__file__).parent)
    began = time.perf_counter()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", plugin, "services/shop/tests"),
            *(word for name in without for word in ("-p", f"no:{name}")),
        ],
        cwd=pyproject.ROOT,
        env={**os.environ, "PYTHONPATH": here, "BENCH_SERVER": server},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    took = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stdout)
    return took


def shuffled(names: dict[str, Any]) -> list[str]:
    """Return the names in a random order."""
    return random.sample(list(names), len(names))


def say(what: str) -> None:
    """Print progress to standard error."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
