"""Names that a person gives: unknown ones, and those that belong to somebody else."""

import pytest

from stratakit import project, pyproject, settings
from stratakit.errors import ConfigurationError, did_you_mean
from stratakit.stack import service_env


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TEST_DATABSE_URL", "TEST_DATABASE_URL"),
        ("TEST_DATABASE_URI", "TEST_DATABASE_URL"),
        ("TEST_REDIS_ULR", "TEST_REDIS_URL"),
        ("TEST_POOLSIZE", "TEST_POOL_SIZE"),
        ("test_sql_lgo", "TEST_SQL_LOG"),
        ("SRTATA_SERVERS", "STRATA_SERVERS"),
        ("STRATA_QQQQQQQQ", ""),
        ("STRATA_DOCKER", ""),
        ("strata_srvers", "STRATA_SERVERS"),
    ],
)
def test_a_setting_that_is_all_but_one_of_ours_is_refused(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigurationError) as refused:
        settings.load()
    assert refused.value.message == f"there is no setting {name}"
    assert refused.value.hint.startswith(f"did you mean {meant}? " if meant else "The settings are")


ACTIONS = ("setup", "doctor", "db.seed", "stack.status", "stack.up")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("seed", "db.seed"), ("stack.upp", "stack.up"), ("stop", None), ("docs", None), ("", None)],
)
def test_only_what_is_like_a_name_is_suggested_for_it(name: str, meant: str | None) -> None:
    suggested = [f"did you mean {meant}?"] if meant else []
    assert did_you_mean(name, ACTIONS) == "".join(suggested)
    assert did_you_mean(name, ACTIONS, "See the list.") == " ".join([*suggested, "See the list."])


@pytest.mark.parametrize("name", ["OPS_SERVERS", "ops_servers"])
def test_a_setting_by_its_former_name_is_told_the_present_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "embedded")
    with pytest.raises(ConfigurationError, match="is called STRATA_SERVERS now"):
        settings.load()


def test_what_begins_as_former_settings_did_and_is_none_is_let_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPS_TEAM", "x")
    settings.load()


@pytest.mark.parametrize(
    "name", ["TEST_FOO", "TEST_DATABASE", "TEST_DB_URL", "TEST_AUTH", "SERVERS"]
)
def test_a_setting_of_somebody_else_is_let_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    settings.load()


def test_a_setting_is_known_in_lower_case_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("test_pool_size", "7")
    assert settings.load().pool_size == 7


@pytest.mark.parametrize("name", ["{}DATABSE_URL", "{}DATABASE_POOLSIZE", "{}SERVER_TIMEOUTS"])
def test_a_setting_that_is_all_but_one_of_a_services_is_refused(name: str) -> None:
    (service, *_) = project.services()
    with pytest.raises(ConfigurationError, match="did you mean"):
        service_env.refuse_misspelt(service, [name.format(service.prefix)])


def test_what_kubernetes_calls_by_the_name_of_a_service_is_let_be() -> None:
    (service, *_) = project.services()
    names = ("SERVICE_HOST", "SERVICE_PORT", "PORT_8000_TCP_ADDR", "PORT_8000_TCP", "PORT", "HOST")
    service_env.refuse_misspelt(service, [f"{service.prefix}{name}" for name in names])


def test_a_key_that_nothing_reads_is_refused_and_the_right_one_suggested() -> None:
    with pytest.raises(ConfigurationError) as refused:
        pyproject.refuse_unknown({"python": 1, "projct": 2}, pyproject.KEYS, "[tool.stratakit]")
    assert str(refused.value).startswith(
        "configuration: [tool.stratakit] has an unknown key projct\n  hint: did you mean project? its keys are"
    )
