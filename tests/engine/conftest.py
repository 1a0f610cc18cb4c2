"""Selection of the engine's tests in a run, and servers and databases of their own where needed.

`nox -s engine` and the proofs of the engine run them in a project that tests/support/host.py bakes.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import fake_hetzner
import pytest
import sampling

from stratakit import database, names, servers, settings
from stratakit.cloud.hetzner import Hetzner

from .hetzner_account import renting
from .redis_servers import running

# These start the servers that they need, or need none: a run on Docker would show nothing new.
OF_NO_SOURCE = frozenset(
    "carriers checks cloud cloud_hetzner cloud_kills cloud_leases cloud_sky cloud_ssh contracts"
    " damaged download_folders downloads flakes folders hints keyspaces keyspaces_of_runs limits load load_baseline load_driver"
    " load_soak load_stats load_sweep load_thresholds local_clouds one_server ports registry renaming report"
    " results serving settings stack_copies terraform vanishing waits".split()
)
# These kill processes, wait for timeouts, or start servers again and again.
SLOW = frozenset(
    "actions autogenerate carriers checkouts cloud cloud_hetzner cloud_kills cloud_ssh damaged deployments"
    " folders kept keyspaces_of_runs kills lent limits load_driver local_clouds one_server"
    " secrets servers terraform waits"
    " builders::unique_columns_get_distinct_values"
    " forgotten::a_forgotten_migration_is_reported_once_and_no_test_is_run"
    " downloads::concurrent_downloads_of_a_file_all_succeed"
    " guards::a_function_from_template1_does_not_count_as_content_but_a_table_does"
    " guards::a_wrong_password_is_an_infrastructure_error_without_the_password"
    " isolation::leaks_fail_the_test_that_leaks_and_not_the_next"
    " libpq::an_environment_variable_completes_the_url_is_ignored_or_is_refused_by_name"
    " notify::red_nights_share_one_issue_that_the_next_green_night_closes"
    " positions::all_actions_report_two_heads_alike"
    " positions::verify_fails_if_the_database_is_missing"
    " refusals::actions_on_a_standby_report_a_replica_and_hint_at_the_primary"
    " stack_copies::a_copy_of_the_project_uses_its_own_folders_and_is_removed_completely"
    " verify::without_a_database_models_are_checked_and_drift_is_not"
    " verify::models_that_cannot_be_loaded_are_reported_with_the_error"
    " verify::verify_leaves_no_database_on_the_server"
    " verify::pending_checks_of_many_revisions_start_only_two_scratch_databases"
    " verify::two_concurrent_verifications_do_not_collide"
    " verify::migrations_that_fail_in_one_transaction_or_on_rows_are_named".split()
)
# These have many similar cases.
WIDE = frozenset(
    "cleaning::cleaning_bypasses_and_restores_obstacles_to_deleting_rows"
    " derived::a_row_of_each_table_is_built"
    " derived::each_derived_case_passes"
    " guards::every_action_refuses_a_protecting_stamp_until_its_hint_is_followed"
    " guards::every_action_refuses_a_database_without_a_test_stamp"
    " guards::an_object_of_any_kind_makes_a_database_not_empty"
    " isolation::a_change_besides_rows_is_named_and_the_database_recreated"
    " keyspaces::an_error_for_a_missing_right_names_the_rule_that_grants_it"
    " libpq::environment_variables_do_not_affect_connections_to_leased_servers"
    " load_soak::a_leak_of_each_kind_is_found"
    " load_soak::a_service_without_a_leak_passes_every_time"
    " load_stats::the_interval_contains_the_true_percentile_as_often_as_claimed"
    " notify::a_red_run_is_posted_to_slack_or_discord_in_one_line"
    " notify::a_failing_webhook_is_reported_without_its_address"
    " refusals::a_refusal_by_postgresql_is_never_exit_code_1_and_has_a_hint"
    " schema::a_drift_fails_exactly_the_cases_that_cover_it"
    " serving::a_service_ends_when_pytest_its_worker_or_the_controller_is_killed"
    " thirteen::migrations_checks_builders_and_copies_agree_on_a_realistic_schema".split()
)
SHARE = 4
"""Inverse share of a wide test's cases that are quick; at least one is."""


def is_there(name: str) -> bool:
    """Return whether a module exists, or a test in it."""
    module, _, test = name.partition("::")
    file = Path(__file__).with_name(f"test_{module}.py")
    return file.exists() and f"def test_{test}" in file.read_text(encoding="utf-8")


assert all(map(is_there, OF_NO_SOURCE | SLOW | WIDE)), "what is listed is not there"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose a part of the tests."""
    sampling.add_sample(parser)
    parser.addoption(
        "--quick", action="store_true", help="leave out what kills, waits or starts servers"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that the source of servers cannot affect, slow ones, and those not sampled."""
    quick, docker = config.getoption("--quick"), settings.load().servers == "docker"
    left_out = (SLOW if quick else frozenset()) | (OF_NO_SOURCE if docker else frozenset())
    ids = {item.nodeid for item in items if left_out.isdisjoint(names_of(item))}
    if quick:
        ids -= cases_left_out(items)
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in ids])
    items[:] = [item for item in items if item.nodeid in ids]
    sampling.keep_sample(config, items)


def names_of(item: pytest.Item) -> tuple[str, str]:
    """Return a test's names in the lists: its module's and its own."""
    module = item.path.stem.removeprefix("test_")
    return module, f"{module}::{item.name.partition('[')[0].removeprefix('test_')}"


def cases_left_out(items: Sequence[pytest.Item]) -> set[str]:
    """Return the ids of those cases of wide tests that are not quick."""
    cases = defaultdict(list)
    for item in items:
        if not WIDE.isdisjoint(names_of(item)):
            cases[names_of(item)].append(item.nodeid)
    return {each for ids in cases.values() for each in {*ids} - {*sorted(ids)[::SHARE]}}


@pytest.fixture(autouse=True, scope="module")
def real_threads() -> Iterator[None]:
    """Fail if a test has replaced the threads of later tests, as an import of Locust does."""
    yield
    assert "gevent" not in sys.modules, "import what needs Locust in a process of its own"


@pytest.fixture
def account() -> fake_hetzner.Hetzner:
    """An account at Hetzner."""
    return fake_hetzner.Hetzner()


@pytest.fixture
def hetzner(
    account: fake_hetzner.Hetzner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hetzner]:
    """Hetzner, as a run uses it."""
    with renting(account, tmp_path / "share", monkeypatch) as made:
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start a Redis server with options, for this test alone; return its URL."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(tmp_path, *options))


@pytest.fixture
def server(start: Callable[..., str]) -> str:
    """A Redis server that holds four databases."""
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
