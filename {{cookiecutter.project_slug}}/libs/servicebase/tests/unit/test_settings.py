"""What the environment may say, and what we say when it is wrong."""

import os
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from servicebase.serve import CONFIGURATION, serve
from servicebase.settings import (
    NO_PLACEHOLDER,
    DatabaseSettings,
    ServiceSettings,
    SettingsError,
    load,
)
from stratakit import limits

PREFIX = "KIT_"
DATABASE = "postgresql://user:secret@db:5433/name"
REDIS = "redis://:secret@cache:6379/0"
EXAMPLE = "$(openssl rand -hex 32)"


class Settings(ServiceSettings):
    """Those of a service with one of its own."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    token: Annotated[SecretStr, Field(min_length=16, examples=[EXAMPLE]), NO_PLACEHOLDER]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A good environment with nothing of the user's, and no `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", DATABASE)
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", REDIS)
    monkeypatch.setenv(f"{PREFIX}TOKEN", "secret of sixteen")


def test_two_urls_are_enough_beside_what_the_service_adds() -> None:
    settings = load(Settings)
    assert settings.database_url.get_secret_value() == DATABASE
    assert settings.redis_url.get_secret_value().host == "cache"
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 8000, "info")
    assert "secret" not in repr(settings)


def test_migrations_do_without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{PREFIX}REDIS_URL")
    assert load(DatabaseSettings, PREFIX).database_url.get_secret_value() == DATABASE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("DATABASE_URL", "postgresql://u:p@h:1/d"),
        ("DATABASE_URL", "postgresql+psycopg://h/d"),
        ("DATABASE_URL", "postgresql://u:p#/?@h/d"),
        ("DATABASE_URL", "postgresql://u:p@[::1]:1/d?sslmode=require"),
        ("DATABASE_URL", "postgresql://h/d?channel_binding=prefer&connect_timeout=0"),
        ("DATABASE_URL", "postgresql:///d?host=a:1&host=b:2&target_session_attrs=primary"),
        ("DATABASE_URL", "postgresql:///d?host=/run/pg"),
        ("DATABASE_URL", "postgresql://u:p@/d?host=/run/pg"),
        ("REDIS_URL", "redis://h"),
        ("REDIS_URL", "rediss://h:1/2?ssl_ca_path=/ca&ssl_check_hostname=false"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("DATABASE_POOL_SIZE", "7"),
        ("SERVER_TIMEOUT", "0.5"),
        ("CLIENT_TIMEOUT", "0.5"),
        ("SHUTDOWN_GRACE", "60"),
        ("PORT", "80"),
        ("LOG_LEVEL", "debug"),
    ],
)
def test_a_variable_sets_what_has_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(PREFIX + name, text)
    value = getattr(load(Settings), name.lower())
    assert str(getattr(value, "get_secret_value", lambda: value)()).startswith(text)


def test_a_dotenv_file_is_read_and_the_environment_goes_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = f"{PREFIX}PORT=81\n{PREFIX}HOST=file\nSOMETHING_ELSE=1\n"
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    monkeypatch.setenv(f"{PREFIX}HOST", "environment")
    settings = load(Settings)
    assert (settings.port, settings.host) == (81, "environment")


def test_a_dotenv_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read: "):
        load(Settings)


def test_all_that_is_missing_or_wrong_is_named_at_once_with_an_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = [f"{PREFIX}{name}" for name in ("DATABASE_URL", "REDIS_URL", "TOKEN")]
    for name in missing:
        monkeypatch.delenv(name)
    monkeypatch.setenv(f"{PREFIX}PORT", "x")
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    for name in missing:
        assert f"{name}: is not set" in str(caught.value)
        assert f"{name}=" in str(caught.value)
    assert f"{PREFIX}PORT: " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://user:CHANGE_ME@localhost/db"),
        ("DATABASE_URL", "mysql://localhost/secret"),
        ("DATABASE_URL", "postgresql://localhost:secret/db"),
        ("DATABASE_URL", "secret"),
        ("DATABASE_URL", "postgresql://h/d?channel_binding=require"),
        ("DATABASE_URL", "postgresql://h/d?sslmode=require&options=secret"),
        ("DATABASE_URL", "postgresql://h/d?sslmode=secret"),
        ("DATABASE_URL", "postgresql://h/d?target_session_attrs=secret"),
        ("DATABASE_URL", "postgresql://h/d?connect_timeout=secret"),
        ("DATABASE_URL", "postgresql://h/d?connect_timeout="),
        ("DATABASE_URL", "postgresql://h/d?prepared_statement_cache_size=secret"),
        ("DATABASE_URL", "postgresql://h/d?connect_timeout=1&connect_timeout=2"),
        ("DATABASE_URL", ""),
        ("REDIS_URL", "redis://:change_me@localhost"),
        ("REDIS_URL", "http://secret"),
        ("REDIS_URL", "redis://h?db=secret"),
        ("REDIS_URL", "redis://h?socket_timeout=1"),
        ("REDIS_URL", "redis://h?ssl_cert_reqs=none"),
        ("REDIS_URL", "redis://h?db=-1"),
        # The end of a password that is not quoted is no name of an option.
        ("REDIS_URL", "redis://u:12?secret@h/0"),
        ("DATABASE_URL", "postgresql://h/d?port=secret"),
        ("DATABASE_URL", "postgresql://h/d?prepared_statement_cache_size=-1"),
        ("PORT", "secret"),
        ("PORT", "65536"),
        ("DATABASE_POOL_SIZE", "0"),
        ("SERVER_TIMEOUT", "0"),
        ("CLIENT_TIMEOUT", "0"),
        ("SHUTDOWN_GRACE", "-1"),
        ("LOG_LEVEL", "secret"),
        ("TOKEN", "CHANGE_ME CHANGE_ME"),
        ("TOKEN", "secret"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=f"^{PREFIX}{name}: ") as caught:
        load(Settings)
    assert "secret" not in str(caught.value)


def test_serving_without_settings_says_so_and_exits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(f"{PREFIX}DATABASE_URL")
    with pytest.raises(SystemExit) as caught:
        serve(Settings, "no_such_module:nothing")
    assert caught.value.code == CONFIGURATION
    assert f"{PREFIX}DATABASE_URL: is not set" in capsys.readouterr().err


def test_who_ends_a_service_waits_longer_than_it_grants_its_requests() -> None:
    # The stack, which adds what is set to this; infra/kubernetes has a number of its own.
    assert ServiceSettings.model_fields["shutdown_grace"].default < limits.PROCESS
