"""Which tests of the engine a run has, and servers and databases of their own for those that need some.

`nox -s engine` and the proofs of the engine run them in a project that tests/support/host.py bakes.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sampling

from stratakit import database, names, servers, settings

from .redis_servers import running

# They start the servers that they need, or need none, so that Docker's would show nothing new.
OF_NO_SOURCE = frozenset(
    "checks download_folders downloads folders keyspaces keyspaces_of_runs limits local_clouds"
    " one_server registry results serving settings stack_copies terraform waits".split()
)
# They kill what runs, wait for what does not answer, or start servers again and again.
SLOW = frozenset(
    "actions checkouts folders kept keyspaces_of_runs kills lent limits local_clouds one_server"
    " secrets servers terraform waits".split()
)
MODULES = {file.stem.removeprefix("test_") for file in Path(__file__).parent.glob("test_*.py")}
assert OF_NO_SOURCE | SLOW <= MODULES, "a module that is listed is not there"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose a part of the tests."""
    sampling.pytest_addoption(parser)
    parser.addoption(
        "--quick", action="store_true", help="leave out what kills, waits or starts servers"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a source of servers tells nothing of, what is not quick, or not in the sample."""
    docker = settings.load().servers == "docker"
    quick = config.getoption("--quick")

    def wanted(item: pytest.Item) -> bool:
        name = item.path.stem.removeprefix("test_")
        return name not in (SLOW if quick else ()) and name not in (OF_NO_SOURCE if docker else ())

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = filter(wanted, items)
    sampling.pytest_collection_modifyitems(config, items)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start a server with options, for this test alone; return its URL."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(tmp_path, *options))


@pytest.fixture
def server(start: Callable[..., str]) -> str:
    """A server that holds four databases."""
    return start("--databases", "4")


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[[str], tuple[str, str]]]:
    """Make a database with a schema; return the server and its name."""
    with ExitStack() as stack:
        server = stack.enter_context(servers.lease(settings.load(), ("postgres",)))["postgres"].url
        run = stack.enter_context(database.run(server))
        count = iter(range(1000))

        def new(schema: str) -> tuple[str, str]:
            name = names.database(run, f"made{next(count)}")
            with database.connect(server) as admin:
                admin.execute(f'CREATE DATABASE "{name}"')
            with database.connect(server, name) as connection:
                connection.execute(schema)
            return server, name

        yield new
