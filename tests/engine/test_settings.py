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
def test_an_unknown_setting_is_refused_with_a_suggestion_or_the_list(
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
def test_only_a_similar_name_is_suggested(name: str, meant: str | None) -> None:
    suggested = [f"did you mean {meant}?"] if meant else []
    assert did_you_mean(name, ACTIONS) == "".join(suggested)
    assert did_you_mean(name, ACTIONS, "See the list.") == " ".join([*suggested, "See the list."])


@pytest.mark.parametrize("name", ["OPS_SERVERS", "ops_servers"])
def test_a_former_name_of_a_setting_is_refused_with_the_present_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "embedded")
    with pytest.raises(ConfigurationError, match="is called STRATA_SERVERS now"):
        settings.load()


def test_an_unrelated_variable_with_the_former_prefix_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPS_TEAM", "x")
    settings.load()


@pytest.mark.parametrize(
    "name", ["TEST_FOO", "TEST_DATABASE", "TEST_DB_URL", "TEST_AUTH", "SERVERS"]
)
def test_variables_of_other_programs_are_ignored(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "x")
    settings.load()


def test_a_setting_may_be_written_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("test_pool_size", "7")
    assert settings.load().pool_size == 7


@pytest.mark.parametrize("name", ["{}DATABSE_URL", "{}DATABASE_POOLSIZE", "{}SERVER_TIMEOUTS"])
def test_a_misspelt_setting_of_a_service_is_refused_with_a_suggestion(name: str) -> None:
    (service, *_) = project.services()
    with pytest.raises(ConfigurationError, match="did you mean"):
        service_env.refuse_misspelt(service, [name.format(service.prefix)])


def test_service_variables_that_kubernetes_sets_are_ignored() -> None:
    (service, *_) = project.services()
    names = ("SERVICE_HOST", "SERVICE_PORT", "PORT_8000_TCP_ADDR", "PORT_8000_TCP", "PORT", "HOST")
    service_env.refuse_misspelt(service, [f"{service.prefix}{name}" for name in names])


def test_an_unknown_key_in_pyproject_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigurationError) as refused:
        pyproject.refuse_unknown({"python": 1, "projct": 2}, pyproject.KEYS, "[tool.stratakit]")
    assert str(refused.value).startswith(
        "configuration: [tool.stratakit] has an unknown key projct\n  hint: did you mean project? its keys are"
    )
