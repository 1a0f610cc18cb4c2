#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2026.8.10"]
# ///
"""The tiers: `nox -s NAME` asks one question about the code.

`uv run invoke graph` shows what each one is, which folders hold its tests and what it needs; the
tables [tool.stratakit.tiers.*] of pyproject.toml change that, and add tiers. Plain `nox` runs the
default ones, `nox -l` lists all, `nox -s "unit(NAME)"` asks about one service or library,
`nox -t slow` runs what is not default, `nox -j auto` runs side by side what may, and what follows
`--` goes to pytest (or to stratakit.static).

`nox -s coverage` is no tier: it runs two of them, measured, and judges them together. After `--` it
takes `--package NAME`, to judge one alone, and `--combine`, to judge what an earlier run has left.
`nox -s flakes -- --times 50` runs them again and again, in random order, and names what is flaky.
"""

import sys
from functools import partial
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent / "vendor" / "stratakit" / "src"))

from stratakit import project, runner
from stratakit.tiers import COVERAGE, FLAKES, Tier

nox.needs_version = ">=2026.8.10"
# The environments are ours: one for all tiers of a package, where nox makes one for each session.
nox.options.default_venv_backend = "none"


def add(tier: Tier) -> None:
    """Make the session of a tier, for each service and library that it is about."""

    def check(session: nox.Session, package: str | None = None) -> None:
        runner.run_tier(session, tier, package)

    check.__doc__ = f"Check {tier.checks}."
    if names := [nox.param(each.name, id=each.name) for each in project.packages_of(tier)]:
        check = nox.parametrize("package", names)(check)
    session = partial(nox.session, default=tier.default, allow_parallel=tier.parallel)
    session(name=tier.name, tags=tier.tags)(check)


for TIER in runner.begin():
    add(TIER)


@nox.session(name=COVERAGE.name, default=False, tags=["slow"])
def coverage(session: nox.Session) -> None:
    """Check how many of the lines unit and integration run together."""
    runner.run_coverage(session)


@nox.session(name=FLAKES.name, default=False, tags=["slow"])
def flakes(session: nox.Session) -> None:
    """Check which tests pass and fail by chance, in random order, `-- --times 50`."""
    runner.run_flakes(session)


# Sessions of your own go here, as in any noxfile: `@nox.session(default=False)`. One that runs
# tests is better a tier, a table in pyproject.toml: CI and the summary know it then.

if __name__ == "__main__":
    nox.main()
