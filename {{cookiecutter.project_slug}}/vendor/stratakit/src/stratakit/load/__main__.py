"""Command line of the load test of a service: `python -m stratakit.load`."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .. import liveness, location, project, results
from ..errors import Code, ConfigurationError, StrataError
from ..pyproject import ROOT
from . import baseline, driver, options, outcome, soak, stats, sweep, target, thresholds

REPORT = "load.json"
"""File with the full report of a run, beside the results."""
OPEN_SHARE = 0.7
"""Rate of the open phase, as a share of the tasks per second in the closed one."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the load test requested on the command line, and return the exit code."""
    left: dict[str, Any] = {}
    report: dict[str, Any] = {}
    file: Path | None = None
    liveness.join()
    # SIGTERM has to clean up as Ctrl-C does: stop child processes and drop databases.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asked, rest = options.parse(words)
        file = asked.results
        location.require(Path.cwd())
        # The scratch folder from nox is removed even if this process is killed.
        with nullcontext(asked.scratch) if asked.scratch else TemporaryDirectory() as scratch:
            _run(asked, rest, Path(scratch), report)
        left, code, reason = outcome.results(report, strict=asked.strict)
        if asked.save and code <= Code.FAILED:
            baseline.save(report["service"], asked.save, report["phases"])
    except StrataError as error:
        code, reason = error.code, str(error)
    if file and report.get("phases"):
        # Also after a failure: the measurements until then are valid.
        results.write(file.with_name(REPORT), json.dumps(report) + "\n")
        outcome.show(report)
    if reason:
        sys.stderr.write(f"{reason}\n")
    if file:
        results.write(file, json.dumps({**left, "reason": reason}))
    return code


def _run(asked: argparse.Namespace, rest: list[str], folder: Path, report: dict[str, Any]) -> None:
    """Run the phases, and add their results to `report`, in the format of load.json.

    Raises:
        StrataError: anything other than a missed threshold goes wrong.
    """
    service = project.service(asked.home.name)
    settings = thresholds.load(service)
    steps = sweep.steps(asked.sweep) if asked.sweep else ()
    # Before anything is run: either name may be invalid or unreadable.
    usual = baseline.rate(service.name, asked.baseline) if asked.baseline else None
    if asked.save:
        baseline.saved(service.name, asked.save)
    phases: list[dict[str, Any]] = []
    with _target(asked, service, settings, folder) as aim:
        report |= {
            "service": service.name,
            "target": aim.url,
            "own_stack": aim.own,
            "phases": phases,
            "thresholds": [],
            **dict.fromkeys(("sweep", "soak", "baseline", "ceiling")),
        }

        def measure(name: str, users: int, seconds: float, arriving: float | None = None) -> float:
            """Run a phase, and return the tasks started per second."""
            run = driver.run_phase(
                ROOT / asked.home,
                aim,
                users=users,
                spawn_rate=max(asked.spawn_rate, users / 2) if steps else asked.spawn_rate,
                seconds=seconds,
                rate=arriving,
                extra=rest,
                folder=folder / name,
            )
            phases.append(
                stats.summarise(
                    name,
                    "open" if arriving else "closed",
                    run,
                    users=users,
                    rate=arriving,
                    # Closed users wait for responses, so they cannot be late.
                    late_limit_ms=settings.late_limit_ms if arriving else inf,
                )
            )
            return run.tasks / run.seconds

        if steps:
            for users in steps:
                measure(f"{users} users", users, asked.run_time)
        elif asked.soak:
            with soak.watching(aim.processes, asked.soak) as watch:
                measure("soak", asked.users, asked.soak)
            report["soak"] = watch.result(asked.soak)
        else:
            begun = measure("closed", asked.users, asked.run_time)
            measure("open", asked.users, asked.run_time, asked.rate or usual or OPEN_SHARE * begun)
        # This machine's ceiling says nothing about a master's remote workers.
        if driver.MASTER not in rest and (most := driver.ceiling(folder, asked.users, rest)):
            report["ceiling"] = {"requests_per_second": most}
        if steps:
            # A sweep overloads the service on purpose: no thresholds.
            report["sweep"] = sweep.result(phases)
        else:
            report["thresholds"] = thresholds.judge(settings, phases)
    if asked.baseline:
        report["baseline"] = baseline.compare(service.name, asked.baseline, phases)


@contextmanager
def _target(
    asked: argparse.Namespace,
    service: project.Service,
    settings: thresholds.Settings,
    folder: Path,
) -> Iterator[target.Target]:
    if not asked.host:
        with target.own(service, folder) as own:
            yield own
    elif asked.soak:
        raise ConfigurationError(
            "--soak watches the processes of a service of this run, and --host has none of them",
            f'uv run nox -s "load({service.name})" -- --soak 10m',
        )
    else:
        yield target.elsewhere(asked.host, settings.hosts)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
