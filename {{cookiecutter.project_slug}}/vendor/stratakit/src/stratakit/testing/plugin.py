"""The pytest plugin: the tier of each test, the servers it needs, its results.

It is an entry point of this package, so a bare `pytest` and an IDE load it too, not only `nox`.
"""

import gc
import logging
import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_socket
from _pytest.junitxml import xml_key

from .. import (
    discovery,
    environment,
    liveness,
    location,
    project,
    pyproject,
    runner,
    settings,
    tiers,
)
from ..errors import AbsentError, Code, StrataError, translated
from ..results import STRICT
from . import latencies
from .collection import TIER, below_root, named, select
from .fixtures import KEEP_ROWS
from .results import ABSENT, RESULTS, STRATA_ERROR, UNCOLLECTED, Results, masked

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from .resources import RunResources

pytest_plugins = (
    "stratakit.testing.collection",
    "stratakit.testing.fixtures",
    "stratakit.testing.quarantine",
)

pytest.register_assert_rewrite("stratakit.testing.compose_suite")

EXITS = {
    Code.FAILED: 1,
    Code.INFRASTRUCTURE: runner.INFRASTRUCTURE_EXIT,
    Code.CONFIGURATION: runner.CONFIGURATION_EXIT,
}
EXITS_OF_TESTS = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
"""Pytest's exit codes with possible test failures; `-x` ends a run as interrupted."""
CI_SKIP = "ci_skip"
CHANNEL = "strata_shared_state"
"""Key of the channel through which the controller sends a worker its `SharedState`."""
RESOURCES: "pytest.StashKey[RunResources]" = pytest.StashKey()
FAILED = pytest.StashKey[bool]()
NOT_HERE = "no test was selected: the given paths are in other packages"


class SharedSchemaWarning(pytest.PytestWarning):
    """Warning about a test that changed more than rows in the shared database."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options that nox passes to pytest."""
    # Collection creates hardly any garbage: the collector would only walk over the imported
    # modules again and again.
    gc.disable()
    # First of all: if nox is killed, its leftovers are removed once no process uses them.
    liveness.join()
    group = parser.getgroup("strata")
    group.addoption("--tier", help="run only the tests of this tier")
    group.addoption("--home", type=Path, help="run only the tests of the package in this folder")
    group.addoption(
        "--require", action="append", default=[], metavar="PART", help="fail if it is absent"
    )
    group.addoption(STRICT, action="store_true", help="fail if a test is over its budget")
    group.addoption("--reports", type=Path, help="write JUnit, CTRF and our results to this folder")
    if pluginmanager.is_blocked("cacheprovider"):
        # With `-p no:cacheprovider`, the cache options that nox passes would be unknown.
        group.addoption("--lfnf", help="ignored, since there is no cache")
        parser.addini("cache_dir", "ignored, since there is no cache")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register tiers and kinds as markers, select the tests, and start to collect results."""
    reports = config.getoption("--reports")
    results = Results(reports and reports / runner.RESULTS)
    # Nox sets this for each tier; a bare pytest has to do it itself.
    os.environ.update(environment.no_proxy())
    try:
        location.require(config.rootpath)
        # A tier may have the name of a marker; it takes precedence.
        for name, checks in {
            **{each.name: each.checks for each in tiers.MARKERS},
            **{each.name: each.checks for each in tiers.load()},
        }.items():
            config.addinivalue_line("markers", f"{name}: {checks}")
        config.addinivalue_line("markers", f"{CI_SKIP}: skipped if CI is set")
        config.args = [below_root(config, arg) for arg in config.args]
        if settings.load().sql_log:
            logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)
        if config.getoption("--tier"):
            tiers.tier(config.getoption("--tier"))
        _required(config)
        project.packages()
        elsewhere = select(config)
    except StrataError as error:
        results.write(str(error))
        pytest.exit(str(error), returncode=EXITS[error.code])
    if elsewhere:
        results.write(NOT_HERE, "empty")
        pytest.exit(NOT_HERE, returncode=pytest.ExitCode.NO_TESTS_COLLECTED)
    if not hasattr(config, "workerinput"):
        config.stash[RESULTS] = results
        results.seed = config.option.seed
        config.pluginmanager.register(results)
        if reports:
            # Both plugins read these in their `pytest_configure`, which runs after this one.
            config.option.xmlpath = str(reports / "junit.xml")
            config.option.ctrf = str(reports / "ctrf.json")


def _required(config: pytest.Config) -> list[str]:
    """Return the names of the parts that must not be absent.

    Raises:
        ConfigurationError: a part is unknown.
    """
    required = [*config.getoption("--require"), *pyproject.required(tiers.INFRASTRUCTURE)]
    for name in required:
        tiers.named("part", name, tuple(tiers.RESOURCES.values()))
    return required


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop the run's databases and release the servers."""
    if RESOURCES in config.stash:
        config.stash[RESOURCES].close()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the servers while the tests are collected, which takes longer."""
    config = session.config
    wanted = config.getoption("--tier")
    if (
        wanted
        and tiers.tier(wanted).takes_servers
        and not config.getoption("collectonly")
        and not hasattr(config, "workerinput")
    ):
        workers = config.getoption("numprocesses", None)
        _resources(config).prefetch([] if workers else named(config))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the servers and databases that the collected tests need."""
    config = session.config
    # Otherwise the collector walks over all imported modules, 0.1 s in the middle of some test.
    gc.freeze()
    gc.enable()
    if not config.getoption("collectonly") and not hasattr(config, "workerinput"):
        _ensure_started(config, [item.nodeid for item in session.items])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: "WorkerController") -> None:
    """Give a worker the channel on which it will receive the `SharedState`."""
    node.workerinput[CHANNEL] = node.gateway.newchannel()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: "WorkerController", ids: Sequence[str]) -> None:
    """Start what a worker's collected tests need in the controller, and send it the state."""
    _ensure_started(node.config, ids)
    started = RESOURCES in node.config.stash
    channel: Any = node.workerinput[CHANNEL]
    channel.send(node.config.stash[RESOURCES].shared if started else None)


def _ensure_started(config: pytest.Config, ids: Sequence[str]) -> None:
    wanted = config.getoption("--tier")
    if wanted and ids and tiers.tier(wanted).requires("stack"):
        with _exit_on_error(config):
            _stack_urls()
    if wanted and not tiers.tier(wanted).takes_servers:
        return
    used = [each for each in project.packages() if any(_needs_servers(id_, each) for id_ in ids)]
    if not used:
        return
    resources = _resources(config)
    terminal = config.pluginmanager.get_plugin("terminalreporter")

    def tell(line: str) -> None:
        if terminal:
            terminal.ensure_newline()
            terminal.write_line(line)
        else:
            sys.stderr.write(f"{line}\n")

    with _exit_on_error(config):
        said = resources.ensure_started(used, config.getoption("numprocesses", None) or 0, tell)
    if said and terminal:
        tell(said)


@contextmanager
def _exit_on_error(config: pytest.Config) -> Iterator[None]:
    """Exit the run on a `StrataError`, which pytest would report as an internal error."""
    try:
        with translated("the servers and databases of the tests cannot be set up"):
            yield
    except StrataError as error:
        if RESULTS in config.stash:
            config.stash[RESULTS].reason = str(error)
        pytest.exit(f"\n{error}", returncode=EXITS[error.code])


def _needs_servers(nodeid: str, package: project.Package) -> bool:
    home = package.path.relative_to(pyproject.ROOT).as_posix()
    return any(
        nodeid.startswith(f"{home}/{path}/")
        for tier in tiers.load()
        if tier.takes_servers and tier.scope in package.scopes
        for path in tier.paths
    )


@cache
def _stack_urls() -> dict[str, str]:
    """Return the URLs of the stack's services.

    Raises:
        InfrastructureError: the stack is not up, or not healthy.
    """
    # Imported lazily for the same reason as in `_resources`.
    from .. import stack

    return stack.require()


def _resources(config: pytest.Config) -> "RunResources":
    if RESOURCES not in config.stash:
        # Imported lazily: the clients take 0.5 s, and unit tests do not need them.
        from .resources import RunResources

        given: dict[str, Any] | None = getattr(config, "workerinput", None)
        with _exit_on_error(config):
            config.stash[RESOURCES] = (
                RunResources(given["workerid"], cache(given[CHANNEL].receive))
                if given
                else RunResources("main")
            )
    return config.stash[RESOURCES]


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Give every package its own `postgres_url`: a bare `pytest` runs several in one process."""
    if isinstance(collector, pytest.Dir):
        folder = location.relative(collector.path)
        for package in project.packages():
            if folder == package.path.relative_to(pyproject.ROOT):
                _register_fixtures(collector, package)


def _register_fixtures(node: pytest.Collector, package: project.Package) -> None:
    def postgres_url() -> str:
        """URL of this worker's own database, which is cleaned after each test."""
        return _resources(node.config).postgres_url(package)

    def keep_rows() -> Iterator[Callable[[], None]]:
        """Function that keeps the rows present at its call until the module's last test."""
        own = _resources(node.config).isolated(package)
        with ExitStack() as stack:

            def keep() -> None:
                stack.close()
                stack.enter_context(own.keeping())

            yield keep

    def clone(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
        """Function that returns the URL of another database for this test alone at each call."""
        pool = _resources(node.config).clone_pool(package)
        taken: list[str] = []

        def take() -> str:
            taken.append(pool.take())
            return pool.url(taken[-1])

        yield take
        for name in taken:
            if request.node.stash.get(FAILED, False):
                said = f"kept until db.gc: {settings.masked(pool.keep(name))}"
                request.node.add_report_section("teardown", "clone", said)
            else:
                pool.give_back(name)

    def clone_url(clone: Callable[[], str]) -> str:
        """URL of a database for this test alone, to change more than rows; kept on failure."""
        return clone()

    pytest.register_fixture(name="postgres_url", func=postgres_url, node=node, scope="session")
    pytest.register_fixture(name=KEEP_ROWS, func=keep_rows, node=node, scope="module")
    pytest.register_fixture(name="clone", func=clone, node=node)
    pytest.register_fixture(name="clone_url", func=clone_url, node=node)


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config) -> str:
    """URL of this worker's own Redis database, which is flushed after each test."""
    return _resources(pytestconfig).redis_url()


@pytest.fixture(scope="session")
def stack_urls() -> dict[str, str]:
    """URLs of the services in this machine's running stack, by name."""
    return _stack_urls()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Block sockets in the unit tier: a unit test opens no connections.

    Raises:
        AbsentError: CI is set, and the test is marked to be skipped there.
        ConfigurationError: no tier runs the test.
        InfrastructureError: its tier needs the stack, which is not up.
    """
    if TIER not in item.stash:
        raise discovery.refusal([item.path])
    if os.environ.get("CI") and item.get_closest_marker(CI_SKIP):
        raise AbsentError(f"{item.name} is not run where CI is set", part=CI_SKIP)
    if item.stash[TIER].name == tiers.UNIT:
        # asyncio wakes up its loop through a pair of Unix sockets.
        pytest_socket.disable_socket(allow_unix_socket=True)
    if item.stash[TIER].requires("stack"):
        # Not earlier: other tests of a bare pytest run do not need the stack.
        _stack_urls()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Allow sockets again, and clean the databases after the test's fixtures have ended."""
    try:
        return (yield)
    finally:
        pytest_socket.enable_socket()
        if RESOURCES in item.config.stash:
            for package, changed in item.config.stash[RESOURCES].clean().items():
                _warn(item, package, changed)


def _warn(item: pytest.Item, package: str, changed: Sequence[str]) -> None:
    """Warn, in the summary of the run, about a test that changed the shared schema."""
    listed = "\n  ".join(changed)
    message = SharedSchemaWarning(
        f"the test changed the database that all tests of {package} share; it was recreated:\n"
        f"  {listed}\n"
        "  hint: use `clone_url` in tests that change more than rows"
    )
    file, line = str(item.path), (item.location[1] or 0) + 1
    # Not through `warnings`: with warnings as errors, the default here, the test would fail.
    warning = warnings.WarningMessage(message, SharedSchemaWarning, file, line)
    item.ihook.pytest_warning_recorded.call_historic(
        kwargs={
            "warning_message": warning,
            "when": "runtest",
            "nodeid": item.nodeid,
            "location": None,
        }
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record request times, a failed test, and whether a server or a setting is at fault."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    timed = latencies.take()
    if call.when == "call":
        report.user_properties += timed.items()
    if call.excinfo and isinstance(call.excinfo.value, AbsentError):
        absent = call.excinfo.value
        reason = f"{absent.message}; {absent.hint}" if absent.hint else absent.message
        report.user_properties.append((ABSENT, (absent.part, reason)))
        file, line, _ = item.location
        report.outcome, report.longrepr = "skipped", (file, line or 0, reason)
        return report
    if call.excinfo and isinstance(call.excinfo.value, StrataError):
        error = call.excinfo.value
        report.user_properties.append((STRATA_ERROR, (int(error.code), str(error))))
        if TIER not in item.stash:
            # A refused test never ran, so its traceback would not help.
            report.longrepr = str(error)
    return masked(item.config, report) if report.failed else report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the tests that took longer than the budget of their tier or kind."""
    for name, budget in _over_budget(config).items():
        took = config.stash[RESULTS].tests[name]["duration"]
        terminalreporter.write_line(
            f"over the budget of {budget:g} s a test: {name} ({took:.2f} s)"
        )


def _over_budget(config: pytest.Config) -> dict[str, float]:
    """Return the budgets of the tests that exceeded them, by test name, slowest first."""
    name = config.getoption("--tier")
    # Under coverage, every test takes longer than usual.
    if not name or RESULTS not in config.stash or config.pluginmanager.hasplugin("_cov"):
        return {}
    found = {}
    for test in sorted(config.stash[RESULTS].tests.values(), key=lambda test: -test["duration"]):
        budget = tiers.budget_of(tiers.tier(name), test["name"])
        if budget and test["duration"] > budget:
            found[test["name"]] = budget
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell a broken server apart from a broken test, and write the results."""
    results = session.config.stash.get(RESULTS, None)
    if results is None:
        return
    resources = session.config.stash.get(RESOURCES, None)
    status, reason = None, results.reason
    results.refuse_absent(_required(session.config))
    results.refuse_slow(_over_budget(session.config) if session.config.getoption(STRICT) else {})
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        status, reason = "empty", results.elsewhere
    elif exitstatus == pytest.ExitCode.INTERRUPTED:
        status, reason = results.interruption()
    elif exitstatus == pytest.ExitCode.TESTS_FAILED:
        gone = resources.broken() if resources else None
        if gone:
            results.codes.setdefault(Code.INFRASTRUCTURE, gone)
        if results.uncollected:
            # With workers, the exit code does not show it.
            reason = UNCOLLECTED
    elif results.nothing_but_absent:
        status, reason = "absent", "what its tests need is absent"
    if exitstatus in (pytest.ExitCode.OK, *EXITS_OF_TESTS) and results.codes:
        worst = max(results.codes)
        status, reason = None, results.codes[worst]
        session.exitstatus = EXITS[worst]
    with _exit_on_error(session.config):
        results.write(reason, status)
    xml = session.config.stash.get(xml_key, None)
    if xml and session.config.getoption("--reports"):
        # Already written; its summary line would print a path from which the file is soon moved.
        del session.config.stash[xml_key]
        session.config.pluginmanager.unregister(xml)
