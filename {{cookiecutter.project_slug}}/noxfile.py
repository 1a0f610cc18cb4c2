#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2026.8.10"]
# ///
"""The tiers: `nox -s NAME` asks one question about the code.

`uv run invoke graph` shows what each one is, which folders hold its tests and what it needs. Plain
`nox` runs the default ones, `nox -l` lists all, `nox -s "unit(NAME)"` asks about one service or
library, `nox -j auto` runs side by side what may, and what follows `--` goes to pytest (or to
stratakit.static).

`nox -s coverage` is no tier: it runs two of them, measured, and judges them together. After `--` it
takes `--package NAME`, to judge one alone, and `--combine`, to judge what an earlier run has left.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent / "vendor" / "stratakit" / "src"))

from stratakit import discovery, environment, graph, results, runner
from stratakit.coverage import options, settings
from stratakit.errors import Code

nox.needs_version = ">=2026.8.10"
# The environments are ours: one for all tiers of a package, where nox makes one for each session.
nox.options.default_venv_backend = "none"

RUN = results.begin()
results.exit_on_error(graph.project)
# Said here, where nox reads the table, if one of them is not as it should be.
results.exit_on_error(graph.packages)


def run(session: nox.Session, tier: graph.Tier, package: str | None = None) -> None:
    """Run one tier, of one service or library where it is per package."""
    conclude(session, attempt(session, tier, package, session.posargs))


def coverage(session: nox.Session) -> None:
    """Run the tiers that are measured, unless their data is there, and judge them together."""
    measured: list[results.TierResult] = []
    with RUN.part(graph.COVERAGE.name) as part:
        asked = options.parse(session.posargs)
        # A wrong setting is told before the tests run, not after.
        settings.load()
        discovery.refuse_strays(asked.packages)
        if not asked.combine:
            words = (*runner.MEASURE, *asked.pytest)
            measured += [
                attempt(session, tier, each.name, words)
                for each in asked.packages
                for tier in graph.MEASURED
                if each in tier.packages()
            ]
        runner.require_all_ran(measured)
        if measured and not any(each.tests for each in measured):
            part.set_result(
                Code.PASSED, "not judged, since no test was run", status=measured[0].status
            )
        else:
            left = graph.REPORTS if asked.combine else RUN.folder
            # Whichever package's environment can read the data of all.
            check(session, graph.COVERAGE, asked.packages[0], part, asked.judge(left))
    conclude(session, *measured, part)


def attempt(
    session: nox.Session, tier: graph.Tier, package: str | None, words: Sequence[str]
) -> results.TierResult:
    """Run one tier and return what came of it."""
    with RUN.part(tier.name, package) as part:
        check(session, tier, graph.package(package) if package else None, part, words)
    return part


def conclude(session: nox.Session, *parts: results.TierResult) -> None:
    """Tell nox what came of it. The whole message is the last thing that the run prints."""
    if all(part.status == "empty" for part in parts):
        session.skip(parts[0].reason or "")
    worst = max(parts, key=lambda part: part.exit_code)
    if worst.exit_code == Code.FAILED:
        raise nox.command.CommandFailed(worst.reason)
    if worst.exit_code:
        session.error((worst.reason or worst.status).partition("\n")[0])


def check(
    session: nox.Session,
    tier: graph.Tier,
    package: graph.Package | None,
    part: results.TierResult,
    words: Sequence[str],
) -> None:
    """Make the environment, run what the tier runs in it, and settle the part.

    Raises:
        StrataError: something other than the code is at fault.
    """
    # No environment is made for tests that are not there, or that are where nothing runs them.
    discovery.folders(tier, package)
    home = environment.folder(tier, package)
    sync(session, environment.sync(package, home), home, part.file("uv.log"))
    exit_code = 0
    with runner.scratch(part) as scratch:
        try:
            session.run(
                str(environment.python(home).relative_to(graph.ROOT)),
                *runner.arguments(tier, package, part, scratch, words),
                env={
                    **environment.variables(home),
                    **runner.variables(part, session.invoked_from),
                },
                # An interrupted run may drop its databases first; nox's own 0.3 s are too short.
                interrupt_timeout=10,
                success_codes=[0, runner.NOTHING_RAN],
            )
        except nox.command.CommandFailed as failure:
            exit_code = failure.return_code or 1
    runner.set_result(tier, part, exit_code, words)


def sync(session: nox.Session, command: tuple[str, ...], home: Path, log: Path) -> None:
    """Make or update an environment.

    Raises:
        StrataError: uv could not; the message says why.
    """
    # Nox hides UV_PYTHON from what it runs, and CI would test with another Python than it names.
    python = os.environ.get("UV_PYTHON")
    env = {"UV_PROJECT_ENVIRONMENT": str(home), "VIRTUAL_ENV": None, "UV_PYTHON": python}
    try:
        with log.open("w", encoding="utf-8") as stream:
            session.run_install(*command, env=env, stdout=stream, log=False)
    except nox.command.CommandFailed as failure:
        raise environment.diagnose(log.read_text(encoding="utf-8")) from failure


for TIER in graph.TIERS:
    body = partial(run, tier=TIER)
    body.__doc__ = f"Check {TIER.checks}."
    if names := [nox.param(each.name, id=each.name) for each in TIER.packages()]:
        body = nox.parametrize("package", names)(body)
    nox.session(name=TIER.name, default=TIER.default, allow_parallel=TIER.parallel)(body)

coverage.__doc__ = f"Check {graph.COVERAGE.checks}."
nox.session(name=graph.COVERAGE.name, default=False)(coverage)

if __name__ == "__main__":
    nox.main()
