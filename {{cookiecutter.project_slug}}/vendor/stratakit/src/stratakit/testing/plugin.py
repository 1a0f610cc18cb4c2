"""The pytest plugin: which tier a test belongs to, the servers it needs, what came of it.

It is an entry point of this package, so a bare `pytest` and an IDE have it as `nox` does.
"""

import gc
import inspect
import logging
import sys
from argparse import Namespace
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_socket
from _pytest.junitxml import xml_key

from .. import discovery, liveness, location, project, pyproject, runner, settings, tiers
from ..errors import Code, ConfigurationError, StrataError, translated
from . import selection
from .fixtures import NO_LEAKED_TASKS
from .results import STRATA_ERROR, UNCOLLECTED, Results
from .strays import Stray

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from .resources import RunResources

pytest_plugins = ("stratakit.testing.fixtures",)

EXITS = {
    Code.FAILED: 1,
    Code.INFRASTRUCTURE: runner.INFRASTRUCTURE_EXIT,
    Code.CONFIGURATION: runner.CONFIGURATION_EXIT,
}
EXITS_OF_TESTS = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
"""Pytest's exit codes where tests may have failed, in the latter case before a stop by `-x`."""
CHANNEL = "strata_stage"
"""Key of what a worker is given: the channel that tells it what the controller has started."""
TIER = pytest.StashKey[tiers.Tier]()
STAGE = pytest.StashKey["RunResources"]()
RESULTS = pytest.StashKey[Results]()
FAILED = pytest.StashKey[bool]()
NOT_HERE = "no test was selected: the given paths are in other packages"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options by which nox calls pytest."""
    # Until the tests are collected, next to nothing is garbage: the collector would walk over
    # what was imported again and again.
    gc.disable()
    # First of all: nox may be killed, and what it leaves is removed once nobody uses it.
    liveness.join()
    group = parser.getgroup("strata")
    group.addoption("--tier", help="run the tests of this tier alone")
    group.addoption("--home", type=Path, help="run the tests of the package in this folder alone")
    group.addoption("--reports", type=Path, help="write JUnit, CTRF and our results to this folder")
    if pluginmanager.is_blocked("cacheprovider"):
        # `-p no:cacheprovider`: what nox says to it is for nobody, and no error.
        group.addoption("--lfnf", help="nothing, since there is no cache")
        parser.addini("cache_dir", "nothing, since there is no cache")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Leave the conftest.py of other packages alone: what they import is not installed here."""
    known = early_config.known_args_namespace
    # A path that does not exist is refused once all options are known.
    with suppress(ConfigurationError):
        known.file_or_dir = _own(early_config, known, known.file_or_dir)
    return (yield)


def _own(config: pytest.Config, options: Namespace, words: Sequence[str]) -> list[str]:
    """Return those of the paths on the command line that are for this package.

    Raises:
        ConfigurationError: a path does not exist.
    """
    if options.home is None or options.pyargs:
        return [*words]
    return selection.choose(words, pyproject.ROOT / options.home, config.getini("testpaths"))


def _select(config: pytest.Config) -> bool:
    """Keep to the tests of this package; return whether others alone were asked for.

    Raises:
        ConfigurationError: a path does not exist.
    """
    asked = config.args
    if config.args_source is config.ArgsSource.ARGS:
        config.args = _own(config, config.option, asked)
    elif config.getoption("--home"):
        # Even where `--rootdir` or `-c` keep pytest from it.
        config.args = config.getini("testpaths")
    return bool(asked) and not config.args


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the tiers and kinds as markers, and what watches over the run."""
    reports = config.getoption("--reports")
    results = Results(reports and reports / runner.RESULTS)
    try:
        location.require(config.rootpath)
        # A tier may be called as a marker is.
        for name, checks in {
            **{each.name: each.checks for each in tiers.MARKERS},
            **{each.name: each.checks for each in tiers.load()},
        }.items():
            config.addinivalue_line("markers", f"{name}: {checks}")
        config.args = [_below_root(config, arg) for arg in config.args]
        if settings.load().sql_log:
            logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)
        if config.getoption("--tier"):
            tiers.tier(config.getoption("--tier"))
        project.packages()
        elsewhere = _select(config)
    except StrataError as error:
        results.write(str(error))
        pytest.exit(str(error), returncode=EXITS[error.code])
    if elsewhere:
        results.write(NOT_HERE, "empty")
        pytest.exit(NOT_HERE, returncode=pytest.ExitCode.NO_TESTS_COLLECTED)
    if not hasattr(config, "workerinput"):
        config.stash[RESULTS] = results
        config.pluginmanager.register(results)
        if reports:
            # Both plugins read these when they are configured, which is after us.
            config.option.xmlpath = str(reports / "junit.xml")
            config.option.ctrf = str(reports / "ctrf.json")


def _below_root(config: pytest.Config, arg: str) -> str:
    """Return what names tests as a path below pytest's root; else their ids lack the folders."""
    name, colons, rest = arg.partition("::")
    path = config.invocation_params.dir / name
    found = location.relative(path) if path.exists() else None
    if found is None or path.is_relative_to(config.rootpath):
        return arg
    ours = location.relative(config.rootpath) == Path()
    return f"{config.rootpath / found}{colons}{rest}" if ours else arg


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop the run's databases and let the servers go."""
    if STAGE in config.stash:
        config.stash[STAGE].close()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the servers start while the tests are collected, which takes longer than they do."""
    config = session.config
    wanted = config.getoption("--tier")
    if (
        wanted
        and tiers.tier(wanted).takes_servers
        and not config.getoption("collectonly")
        and not hasattr(config, "workerinput")
    ):
        workers = config.getoption("numprocesses", None)
        _stage(config).begin([] if workers else named(config))


def named(config: pytest.Config) -> list[project.Package]:
    """Return the packages that the command line names by their folders or files."""
    given = (config.invocation_params.dir / arg.partition("::")[0] for arg in config.args)
    paths = [location.relative(path) for path in given]
    return [
        each
        for each in project.packages()
        if any(
            path and path.is_relative_to(each.path.relative_to(pyproject.ROOT)) for path in paths
        )
    ]


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Collector | None:
    """Refuse a file of tests that no tier runs, and that file alone."""
    if not discovery.is_stray(module_path):
        return None
    stray: Stray = Stray.from_parent(parent, path=module_path)
    return stray


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its tier and kind, by where it is; keep the tier that was asked for."""
    for item in items:
        tier = tier_of(item)
        if tier is None:
            continue
        item.stash[TIER] = tier
        if not item.get_closest_marker(tier.name):
            item.add_marker(tier.name)
        for marker in markers_of(item.nodeid):
            item.add_marker(marker.name)
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.fixturenames.insert(0, NO_LEAKED_TASKS)
        if tier.timeout and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(tier.timeout))
    wanted = config.getoption("--tier")
    if wanted:
        asked = tiers.tier(wanted)
        # What is refused is kept: it is of no other tier.
        others = [item for item in items if item.stash.get(TIER, asked).name != wanted]
        items[:] = [item for item in items if item.stash.get(TIER, asked).name == wanted]
        config.hook.pytest_deselected(items=others)
        if others and not items and RESULTS in config.stash:
            there = " and ".join(sorted({item.stash[TIER].name for item in others}))
            config.stash[RESULTS].elsewhere = f"no test was selected: what is there is of {there}"


def tier_of(item: pytest.Item) -> tiers.Tier | None:
    """Return the tier of a test: that of its folder; None where that is no tier's.

    A folder that several tiers share holds contract suites, which run against a fake and against
    the real thing: there the marker of the latter's tier decides, and no marker means the first.
    """
    there = discovery.tiers_of(item.path)
    marked = (tier for tier in there if item.get_closest_marker(tier.name))
    return next(marked, there[0] if there else None)


def markers_of(nodeid: str) -> list[tiers.Marker]:
    """Return which kinds of integration test a test is: tests/integration/smoke/, test_smoke.py."""
    home, *_ = tiers.tier(tiers.INTEGRATION).paths
    inside = nodeid.partition("::")[0].partition(f"{home}/")[2]
    *folders, file = inside.split("/")
    return [
        each
        for each in tiers.MARKERS
        if each.name in folders or file.startswith(f"test_{each.name}")
    ]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what the collected tests need, once it is known which they are."""
    config = session.config
    # Frozen, else the collector still walks over all of it, 0.1 s in the middle of some test.
    gc.freeze()
    gc.enable()
    if not config.getoption("collectonly") and not hasattr(config, "workerinput"):
        _prepare(config, [item.nodeid for item in session.items])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: "WorkerController") -> None:
    """Give a worker the channel that will tell it what the controller has started."""
    node.workerinput[CHANNEL] = node.gateway.newchannel()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: "WorkerController", ids: Sequence[str]) -> None:
    """Start, in the controller, what the tests need that a worker has collected, and tell it."""
    _prepare(node.config, ids)
    told = node.config.stash[STAGE].told if STAGE in node.config.stash else None
    node.workerinput[CHANNEL].send(told)


def _prepare(config: pytest.Config, ids: Sequence[str]) -> None:
    wanted = config.getoption("--tier")
    if wanted and ids and tiers.tier(wanted).requires("stack"):
        with _told(config):
            _stack_urls()
    if wanted and not tiers.tier(wanted).takes_servers:
        return
    used = [each for each in project.packages() if any(_needs_servers(id_, each) for id_ in ids)]
    if not used:
        return
    here = _stage(config)
    terminal = config.pluginmanager.get_plugin("terminalreporter")

    def tell(line: str) -> None:
        if terminal:
            terminal.ensure_newline()
            terminal.write_line(line)
        else:
            sys.stderr.write(f"{line}\n")

    with _told(config):
        said = here.prepare(used, config.getoption("numprocesses", None) or 0, tell)
    if said and terminal:
        tell(said)


@contextmanager
def _told(config: pytest.Config) -> Iterator[None]:
    """End the run with what is wrong around it, which else would be an internal error of pytest."""
    try:
        with translated("what the tests stand on cannot be made"):
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
    """Return where the services of the stack answer.

    Raises:
        InfrastructureError: it is not up, or not healthy.
    """
    # As in `_stage`.
    from ..stack import requirement

    return requirement.require()


def _stage(config: pytest.Config) -> "RunResources":
    if STAGE not in config.stash:
        # Not imported before it is needed: the clients take 0.5 s, and unit tests do without.
        from .resources import RunResources

        given: dict[str, Any] | None = getattr(config, "workerinput", None)
        told = (given["workerid"], cache(given[CHANNEL].receive)) if given else ("main",)
        with _told(config):
            config.stash[STAGE] = RunResources(*told)
    return config.stash[STAGE]


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Give every package its own `postgres_url`: a bare `pytest` runs several in one process."""
    if isinstance(collector, pytest.Dir):
        folder = location.relative(collector.path)
        for package in project.packages():
            if folder == package.path.relative_to(pyproject.ROOT):
                _register_fixtures(collector, package)


def _register_fixtures(node: pytest.Collector, package: project.Package) -> None:
    def postgres_url() -> str:
        """URL of this worker's own database; what a test writes is deleted after it."""
        return _stage(node.config).postgres_url(package)

    def clone_url(request: pytest.FixtureRequest) -> Iterator[str]:
        """URL of a database for this test alone, to change more than rows; kept if it fails."""
        spares = _stage(node.config).spare(package)
        name = spares.take()
        yield spares.url(name)
        if request.node.stash.get(FAILED, False):
            address = spares.keep(name)
            said = f"kept until db.gc: {settings.masked(address)}"
            request.node.add_report_section("teardown", "clone", said)
        else:
            spares.give_back(name)

    pytest.register_fixture(name="postgres_url", func=postgres_url, node=node, scope="session")
    pytest.register_fixture(name="clone_url", func=clone_url, node=node)


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config) -> str:
    """URL of this worker's own Redis database; what a test writes is deleted after it."""
    return _stage(pytestconfig).redis_url()


@pytest.fixture(scope="session")
def stack_urls() -> dict[str, str]:
    """URLs of the services of the stack that runs on this machine, by their names."""
    return _stack_urls()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Block sockets in the unit tier: a unit test that reaches out is none.

    Raises:
        ConfigurationError: no tier runs the test.
        InfrastructureError: its tier needs the stack, which is not up.
    """
    if TIER not in item.stash:
        raise discovery.refusal([item.path])
    if item.stash[TIER].name == tiers.UNIT:
        # asyncio wakes its loop through a pair of Unix sockets.
        pytest_socket.disable_socket(allow_unix_socket=True)
    if item.stash[TIER].requires("stack"):
        # A bare pytest may have other tests as well, which are none the worse for it.
        _stack_urls()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Let sockets go, and delete what the test has written once its fixtures are done."""
    try:
        return (yield)
    finally:
        pytest_socket.enable_socket()
        if STAGE in item.config.stash:
            item.config.stash[STAGE].clean()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed, and whether for want of a server or because of a setting."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    if call.excinfo and isinstance(call.excinfo.value, StrataError):
        error = call.excinfo.value
        report.user_properties.append((STRATA_ERROR, (int(error.code), str(error))))
        if TIER not in item.stash:
            # Of what is refused, a traceback would tell nothing.
            report.longrepr = str(error)
    return _masked(item.config, report) if report.failed else report


def _masked(config: pytest.Config, report: pytest.TestReport) -> pytest.TestReport:
    """Return a report without passwords: CI keeps it, in several files, and shows it to others."""
    data = config.hook.pytest_report_to_serializable(config=config, report=report)
    hidden = _without_passwords(data)
    if hidden == data:
        return report
    found: pytest.TestReport = config.hook.pytest_report_from_serializable(
        config=config, data=hidden
    )
    return found


def _without_passwords(data: Any) -> Any:
    if isinstance(data, str):
        return settings.masked(data)
    if isinstance(data, dict):
        return {key: _without_passwords(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(_without_passwords(value) for value in data)
    return data


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the tests that took longer than their tier, or their kind, allows one to take."""
    name = config.getoption("--tier")
    budget = tiers.tier(name).test_budget if name else None
    # Measured, each test takes longer than its own time.
    if budget is None or RESULTS not in config.stash or config.pluginmanager.hasplugin("_cov"):
        return
    for test in sorted(config.stash[RESULTS].tests.values(), key=lambda test: -test["duration"]):
        own = max([budget, *(each.test_budget for each in markers_of(test["name"]))])
        if test["duration"] > own:
            terminalreporter.write_line(
                f"over the budget of {own:g} s a test: {test['name']} ({test['duration']:.2f} s)"
            )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell a broken server from a broken test, and write the results."""
    results = session.config.stash.get(RESULTS, None)
    if results is None:
        return
    here = session.config.stash.get(STAGE, None)
    status, reason = None, results.reason
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        status, reason = "empty", results.elsewhere
    elif exitstatus == pytest.ExitCode.INTERRUPTED:
        status, reason = results.interruption()
    elif exitstatus == pytest.ExitCode.TESTS_FAILED:
        gone = here.broken() if here else None
        if gone:
            results.codes.setdefault(Code.INFRASTRUCTURE, gone)
        if results.uncollected:
            # Of workers, the exit code does not tell it.
            reason = UNCOLLECTED
    if exitstatus in EXITS_OF_TESTS and results.codes:
        worst = max(results.codes)
        status, reason = None, results.codes[worst]
        session.exitstatus = EXITS[worst]
    with _told(session.config):
        results.write(reason, status)
    xml = session.config.stash.get(xml_key, None)
    if xml and session.config.getoption("--reports"):
        # It is written by now, and told is where: from there it will soon be moved.
        del session.config.stash[xml_key]
        session.config.pluginmanager.unregister(xml)
