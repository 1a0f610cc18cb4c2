"""Settings from the environment, and messages about invalid ones."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr

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
NEEDED = {
    "DATABASE_URL": "postgresql://user:secret@db:5433/name",
    "REDIS_URL": "redis://:secret@cache:6379/0",
    "TOKEN": 3 * "secret",
}
GOOD = {
    "DATABASE_URL": (
        *("postgres://u:p@h/d", "postgresql://u:p@h:1/d", "postgresql+psycopg://h/d"),
        *("postgresql://u:p#/?@h/d", "postgresql://u:p@[::1]:1/d?sslmode=require"),
        "postgresql://h/d?channel_binding=prefer&connect_timeout=0",
        "postgresql:///d?host=a:1&host=b:2&target_session_attrs=primary",
        *("postgresql:///d?host=/run/pg", "postgresql://u:p@/d?host=/run/pg"),
    ),
    "REDIS_URL": (
        *("redis://h", "rediss://h:1/2?ssl_ca_path=/ca&ssl_check_hostname=false"),
        *("rediss://h?ssl_certfile=/c&ssl_keyfile=/k", "unix:///run/redis.sock?db=1"),
    ),
    "DATABASE_POOL_SIZE": ("7",),
    "SERVER_TIMEOUT": ("0.5",),
    "CLIENT_TIMEOUT": ("0.5",),
    "SHUTDOWN_GRACE": ("60",),
    "PORT": ("80",),
    "LOG_LEVEL": ("debug",),
}
BAD_OPTIONS = (
    *("channel_binding=require", "sslmode=require&options=secret", "sslmode=secret"),
    *("target_session_attrs=secret", "connect_timeout=secret", "connect_timeout="),
    *("connect_timeout=1&connect_timeout=2", "port=secret"),
    *("prepared_statement_cache_size=secret", "prepared_statement_cache_size=-1"),
)
BAD = {
    "DATABASE_URL": (
        *("", "secret", "mysql://localhost/secret", "postgresql://localhost:secret/db"),
        "postgresql://user:CHANGE_ME@localhost/db",
        *(f"postgresql://h/d?{options}" for options in BAD_OPTIONS),
    ),
    "REDIS_URL": (
        *("redis://:change_me@localhost", "http://secret", "redis://h?socket_timeout=1"),
        *("redis://h?db=secret", "redis://h?db=-1", "redis://h?ssl_cert_reqs=none"),
        # The end of an unquoted password is not the name of an option.
        "redis://u:12?secret@h/0",
    ),
    "PORT": ("secret", "65536"),
    "DATABASE_POOL_SIZE": ("0",),
    "SERVER_TIMEOUT": ("0",),
    "CLIENT_TIMEOUT": ("0",),
    "SHUTDOWN_GRACE": ("-1",),
    "LOG_LEVEL": ("secret",),
    "TOKEN": ("CHANGE_ME CHANGE_ME", "secret"),
}


class Settings(ServiceSettings, env_prefix=PREFIX):
    """Settings of a service with one of its own."""

    token: Annotated[SecretStr, Field(min_length=16, examples=["hex"]), NO_PLACEHOLDER]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A good environment, and no `.env`."""
    monkeypatch.chdir(tmp_path)
    for name, value in NEEDED.items():
        monkeypatch.setenv(PREFIX + name, value)


def test_the_kit_requires_only_two_urls() -> None:
    settings = load(Settings)
    assert settings.database_url.get_secret_value() == NEEDED["DATABASE_URL"]
    assert settings.redis_url.get_secret_value().host == "cache"
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 8000, "info")
    assert "secret" not in repr(settings)


def test_migrations_do_not_need_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{PREFIX}REDIS_URL")
    url = load(DatabaseSettings, PREFIX).database_url
    assert url.get_secret_value() == NEEDED["DATABASE_URL"]


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in GOOD.items() for text in texts]
)
def test_a_variable_sets_its_field(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(PREFIX + name, text)
    value = getattr(load(Settings), name.lower())
    assert str(getattr(value, "get_secret_value", lambda: value)()).startswith(text)


def test_a_dotenv_file_is_read_and_the_environment_overrides_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = f"{PREFIX}PORT=81\n{PREFIX}HOST=file\nSOMETHING_ELSE=1\n"
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    monkeypatch.setenv(f"{PREFIX}HOST", "environment")
    settings = load(Settings)
    assert (settings.port, settings.host) == (81, "environment")


def test_a_dotenv_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read: "):
        load(Settings)


def test_all_missing_and_invalid_settings_are_named_at_once_with_an_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in NEEDED:
        monkeypatch.delenv(PREFIX + name)
    monkeypatch.setenv(f"{PREFIX}PORT", "x")
    with pytest.raises(SettingsError, match=f"{PREFIX}PORT: ") as caught:
        load(Settings)
    for name in NEEDED:
        assert f"{PREFIX}{name}: is not set" in str(caught.value)
        assert f"{PREFIX}{name}=" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
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


def test_the_stack_waits_longer_than_the_grace_of_a_shutdown() -> None:
    # The stack adds a configured grace to its limit; infra/kubernetes has its own number.
    assert ServiceSettings.model_fields["shutdown_grace"].default < limits.PROCESS
