#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2026.8.10"]
# ///
"""The tiers: each nox session checks one kind of thing about the code.

`uv run invoke graph` shows what each tier checks, its folders and its needs; the
tables [tool.stratakit.tiers.*] of pyproject.toml change tiers and add new ones. Plain `nox` runs
the default tiers, `nox -l` lists all, `nox -s "unit(NAME)"` runs one service or library,
`nox -t slow` runs those that are not default, `nox -j auto` runs tiers in parallel where possible.
Arguments after `--` go to pytest (or to stratakit.static).

`nox -s coverage` is not a tier: it runs two of them and checks their combined coverage. After `--`
it accepts `--package NAME`, to check one package, and `--combine`, to check data of earlier runs.
`nox -s flakes -- --times 50` repeats the tests in random order and reports the flaky ones.
"""

import sys
from functools import partial
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent / "vendor" / "stratakit" / "src"))

from stratakit import project, runner
from stratakit.tiers import COVERAGE, FLAKES, Tier

nox.needs_version = ">=2026.8.10"
# The engine makes the environments: one for all tiers of a package; nox would make one per session.
nox.options.default_venv_backend = "none"


def add(tier: Tier) -> None:
    """Register the session of a tier, parametrized by the services and libraries it applies to."""

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
    """Check the combined coverage of unit and integration."""
    runner.run_coverage(session)


@nox.session(name=FLAKES.name, default=False, tags=["slow"])
def flakes(session: nox.Session) -> None:
    """Check for flaky tests, in random order, `-- --times 50`."""
    runner.run_flakes(session)


# Add sessions of your own here, as in any noxfile: `@nox.session(default=False)`. For tests, prefer
# a tier, a table in pyproject.toml: CI and the summary then include it.

if __name__ == "__main__":
    nox.main()
