"""Sessions of noxfile.py: run a tier in its environment and set its result.

Standard library only, since noxfile.py imports it in whatever environment runs nox; the plugin
imports it in environments without nox.
"""

import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import discovery, environment, project, results, tiers
from .errors import Code, InfrastructureError
from .progress import progress
from .project import Package
from .pyproject import REPORTS, ROOT
from .results import TierResult
from .tiers import Tier

if TYPE_CHECKING:
    import nox

INFRASTRUCTURE_EXIT = 12
CONFIGURATION_EXIT = 13
"""Exit codes of pytest with our plugin: pytest's own 2 and 3 have other meanings."""

NOTHING_RAN = 5
"""pytest's exit code without tests; not a failure, since some packages may have none."""

RESULTS = "results.json"
"""File that a tier writes to the folder of its part: tests, absent parts, and the reason."""

COVERAGE_DATA = "coverage.data"
"""Coverage data file in the same folder. No leading dot: CI does not upload hidden files."""

MEASURE = ("--cov", "--cov-report=")
"""Options of pytest to measure coverage without a report."""

_PYTEST_EXIT: dict[int, tuple[Code, str | None]] = {
    0: (Code.PASSED, None),
    1: (Code.FAILED, "tests failed"),
    2: (Code.FAILED, "tests could not be collected, or the run was interrupted"),
    3: (Code.FAILED, "pytest had an internal error"),
    4: (Code.CONFIGURATION, "pytest was called wrongly: see its message above"),
    6: (Code.FAILED, "there were more warnings than allowed"),
    INFRASTRUCTURE_EXIT: (Code.INFRASTRUCTURE, "a server that the tests need is not there"),
    CONFIGURATION_EXIT: (Code.CONFIGURATION, "a setting is wrong"),
}


_STARTED = "STRATA_STARTED_IN"

_ROOM = 40
"""Bytes that the path of a temporary folder may have, to leave room for sockets in it: kernels
allow at least 100, of which pytest uses 44 for worker and test, and the socket's name the rest."""


def begin() -> tuple[Tier, ...]:
    """Start or join a run of nox; return the tiers to create sessions for.

    If a tier, service or library is misconfigured, print the error and exit with 3.
    """
    results.begin()
    results.exit_on_error(tiers.load)
    results.exit_on_error(project.packages)
    return tiers.load()


def run_tier(session: "nox.Session", tier: Tier, package: str | None = None) -> None:
    """Run one tier; `package` is set if the tier runs per package."""
    _conclude(session, _attempt(session, tier, package, _words(session)))


def run_coverage(session: "nox.Session") -> None:
    """Run the measured tiers, unless their data is to be combined, and check their coverage."""
    # Imported here: other sessions do not need it.
    from .coverage import settings

    run = results.begin()
    measured: list[TierResult] = []
    with run.part(tiers.COVERAGE.name, python=_python(session)) as part:
        asked = settings.parse(_words(session))
        # Report invalid settings before the tests run.
        settings.load()
        discovery.refuse_strays(asked.packages)
        if not asked.combine:
            words = (*MEASURE, *asked.pytest)
            measured += [
                _attempt(session, tier, each.name, words)
                for each in asked.packages
                for tier in tiers.measured()
                if each in project.packages_of(tier)
            ]
        for each in measured:
            if each.exit_code >= Code.INFRASTRUCTURE:
                raise InfrastructureError(f"not judged, since {each.title} could not run")
        if measured and not any(each.tests for each in measured):
            part.set_result(
                Code.PASSED, "not judged, since no test was run", status=measured[0].status
            )
        else:
            left = REPORTS if asked.combine else run.folder
            # The environment of any package can read the data of all.
            _run(session, tiers.COVERAGE, asked.packages[0], part, asked.judge(left, part.python))
    _conclude(session, *measured, part)


def run_flakes(session: "nox.Session") -> None:
    """Run the default test tiers repeatedly to find flaky tests."""
    # See `run_coverage`.
    from . import flakes

    parts: list[TierResult] = []
    with results.begin().part(tiers.FLAKES.name, python=_python(session)) as part:
        asked = flakes.parse(_words(session))
        discovery.refuse_strays(project.packages())
        rounds = flakes.Rounds(asked)
        pairs = [
            (tier, each.name if each else None)
            for tier in flakes.tiers_of()
            for each in project.packages_of(tier) or (None,)
        ]
        for number in range(asked.times):
            session.log(f"round {number + 1} of {asked.times}: --seed {asked.seed + number}")
            parts = [_attempt(session, *pair, asked.words(number)) for pair in pairs]
            for each in parts:
                if each.exit_code >= Code.INFRASTRUCTURE:
                    raise InfrastructureError(f"not judged, since {each.title} could not run")
            rounds.add(parts)
            # Tiers without selected tests are dropped: later rounds would not select any either.
            full = [each.status != "empty" for each in parts]
            if not any(full):
                break
            for each, kept in zip(parts, full, strict=True):
                if not kept:
                    each.forget()
            pairs = [pair for pair, kept in zip(pairs, full, strict=True) if kept]
        rounds.settle(part)
    _conclude(session, *parts, part)


def _attempt(
    session: "nox.Session", tier: Tier, package: str | None, words: Sequence[str]
) -> TierResult:
    """Run one tier and return its result."""
    with results.begin().part(tier.name, package, _python(session)) as part:
        part.strict = results.STRICT in words
        rest = [word for word in words if word != results.STRICT]
        _run(session, tier, project.package(package) if package else None, part, rest)
    return part


def _conclude(session: "nox.Session", *parts: TierResult) -> None:
    """Pass the result to nox, with one line of the reason; the run prints it in full at its end."""
    if all(part.status == "empty" for part in parts):
        session.skip(parts[0].reason or "")
    worst = max(parts, key=lambda part: part.exit_code)
    if worst.exit_code == Code.FAILED:
        from nox.command import CommandFailed  # See `_exit_code`.

        raise CommandFailed(worst.reason)
    if worst.exit_code:
        session.error((worst.reason or worst.status).partition("\n")[0])


def _words(session: "nox.Session") -> list[str]:
    """Return the arguments after `--` for the tier, without our own `--output`."""
    return results.split_output(session.posargs)[0]


def _python(session: "nox.Session") -> str | None:
    """Return the Python that `nox --force-python` names, if any."""
    return session.python if isinstance(session.python, str) else None


def _run(
    session: "nox.Session",
    tier: Tier,
    package: Package | None,
    part: TierResult,
    words: Sequence[str],
) -> None:
    """Create the environment, run the tier's program in it, and set the result of the part.

    Raises:
        StrataError: something other than the code under test is at fault.
    """
    # Check for stray and missing tests first: both fail without an environment.
    if not tier.module:
        discovery.refuse_strays([package] if package else [])
    project.folders(tier, package)
    home = environment.folder(tier, package, part.python)
    start = time.monotonic()
    _sync(session, tier, package, home, part)
    part.setup_seconds = time.monotonic() - start
    with scratch(part) as folder:
        exit_code = _exit_code(
            session.run,
            str(environment.python(home).relative_to(ROOT)),
            *arguments(tier, package, part, folder, words),
            env={
                **environment.variables(home),
                "COVERAGE_FILE": str(part.file(COVERAGE_DATA)),
                _STARTED: session.invoked_from,
            },
            # nox's own 0.3 s are too short to drop databases, or to release a machine.
            interrupt_timeout=tier.ending,
            success_codes=[0, NOTHING_RAN],
        )
    set_result(tier, part, exit_code, words)


def _sync(
    session: "nox.Session", tier: Tier, package: Package | None, home: Path, part: TierResult
) -> None:
    """Create or update an environment.

    Raises:
        StrataError: uv failed; the message says why.
    """
    log = part.file("uv.log")
    # nox removes UV_PYTHON from the environment, so CI would test with the wrong Python.
    python = part.python or os.environ.get("UV_PYTHON")
    env = {"UV_PROJECT_ENVIRONMENT": str(home), "VIRTUAL_ENV": None, "UV_PYTHON": python}
    command = environment.sync(package, home, tier.group)
    with log.open("w", encoding="utf-8") as stream, progress(f"install what {part.title} needs"):
        if _exit_code(session.run_install, *command, env=env, stdout=stream, log=False) == 0:
            return
    raise environment.diagnose(log.read_text(encoding="utf-8"), part.python)


def _exit_code(run: Callable[..., Any], *command: str, **options: Any) -> int:
    """Run a command in a session, and return its exit code."""
    # Imported here: environments of tests have no nox, but the plugin imports this module.
    from nox.command import CommandFailed

    try:
        run(*command, **options)
    except CommandFailed as failure:
        return failure.return_code or 1
    return 0


def arguments(
    tier: Tier,
    package: Package | None,
    part: TierResult,
    scratch: Path,
    posargs: Sequence[str],
) -> list[str]:
    """Return the arguments for the Python of the tier's environment.

    Raises:
        AbsentError: the tier has no tests here.
    """
    reports = part.folder.relative_to(ROOT).as_posix()
    home = (package.path if package else ROOT).relative_to(ROOT).as_posix()
    if tier.module:
        about = ("--home", home, "--scratch", str(scratch)) if tier.scope == "service" else ()
        return ["-m", tier.module, *about, "--results", f"{reports}/{RESULTS}", *posargs]
    folders = [folder.relative_to(ROOT).as_posix() for folder in project.folders(tier, package)]
    return [
        *("-m", "pytest", "--tier", tier.name, "--home", home),
        *("--reports", reports, "--basetemp", str(scratch / "t")),
        # `--lf` is per part; if nothing failed before, it runs nothing.
        *("-o", f"cache_dir=.pytest_cache/{tier.name}/{Path(home).name}", "--lfnf", "none"),
        # Used if no paths are given; only pytest can tell which arguments are paths.
        *("-o", f"testpaths={shlex.join(map(escape, folders))}"),
        *((results.STRICT,) if part.strict else ()),
        *posargs,
    ]


@contextmanager
def scratch(part: TierResult) -> Iterator[Path]:
    """Create a temporary folder for the tests of a part, and remove it after the block.

    pytest's default is shared by all runs of a user, and each run removes folders of others.
    """
    usual = tempfile.gettempdir()
    short = "/tmp"  # noqa: S108 - the folder in it is private and has a unique name
    deep = len(os.fsencode(usual)) > _ROOM - len("/strata-12345678/t") and os.access(short, os.W_OK)
    with tempfile.TemporaryDirectory(
        prefix="strata-", dir=short if deep else usual, ignore_cleanup_errors=True
    ) as folder:
        # nox may kill parallel sessions before they clean up: then the run removes the folder.
        part.scratch = folder
        part.save()
        yield Path(folder)


def started_in() -> Path:
    """Return the folder in which nox was started; without nox, the working directory."""
    return Path(os.environ.get(_STARTED) or Path.cwd())


def find(name: str) -> Path | None:
    """Return the path of a file named on the command line of nox; None if it does not exist.

    Names are relative to the folder in which nox was started, or to the root, as in reports.
    """
    for base in (started_in(), ROOT):
        path = Path(os.path.normpath(base / name))
        if path.exists():
            # The working directory may be a link to the project.
            return path if path.is_relative_to(ROOT) else path.resolve()
    return None


def set_result(tier: Tier, part: TierResult, exit_code: int, posargs: Sequence[str]) -> None:
    """Set the result of the part from the command's results file and exit code."""
    left = results.read(part.file(RESULTS))
    part.file(RESULTS).unlink(missing_ok=True)
    part.tests, part.absent = left.get("tests", []), left.get("absent", [])
    part.load_test = left.get("load_test")
    part.seed = left.get("seed")
    if left.get("status") == "empty":
        asked = shlex.join(word for word in posargs if word not in MEASURE)
        nothing = left.get("reason") or f"no test was selected{asked and f' by {asked}'}"
        part.set_result(Code.PASSED, nothing, status="empty")
        return
    reason: str | None
    code, reason = Code.FAILED, f"it exited with {exit_code}"
    if exit_code < 0:
        reason = f"it was killed by signal {-exit_code}"
    elif not tier.module:
        code, reason = _PYTEST_EXIT.get(exit_code, (code, f"pytest exited with {exit_code}"))
        if exit_code == Code.FAILED and not left:
            reason = "pytest ended before its tests did: see its output above"
        if not exit_code and not part.tests:
            reason = "no test was run, since pytest was asked to show something instead"
    elif exit_code in set(Code):
        code, reason = Code(exit_code), "a check failed" if exit_code == Code.FAILED else None
    part.set_result(code, left.get("reason") or reason, status=left.get("status"))
