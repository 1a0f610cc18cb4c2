"""What the environment may say, and what we say when it is wrong."""

import os
from dataclasses import asdict
from pathlib import Path

import pytest
from pydantic import HttpUrl, SecretStr

from servicebase.settings import SettingsError

from gateway.adapters.echo import EchoSettings
from gateway.settings import PREFIX, Settings, load

DATABASE = "postgresql://user:secret@db:5433/name"
REDIS = "redis://:secret@cache:6379/0"
NEEDED = {
    "DATABASE_URL": DATABASE,
    "REDIS_URL": REDIS,
    "ADMIN_TOKEN": "secret of sixteen",  # pragma: allowlist secret
    "SECRET": "secret of thirty-two characters.",  # pragma: allowlist secret
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A good environment with nothing of the user's, and no `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in NEEDED.items():
        monkeypatch.setenv(PREFIX + name, value)


def test_two_urls_and_two_secrets_are_enough() -> None:
    settings = load(Settings)
    assert settings.database_url.get_secret_value() == DATABASE
    assert settings.redis_url.get_secret_value().host == "cache"
    assert settings.admin_token.get_secret_value() == NEEDED["ADMIN_TOKEN"]
    assert settings.secret.get_secret_value() == NEEDED["SECRET"]
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 8000, "info")
    assert settings.openai_url is None
    assert settings.echo() == EchoSettings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("database_pool_size", "7", 7),
        ("server_timeout", "0.5", 0.5),
        ("registration", "false", False),
        ("session_ttl", "60", 60),
        ("max_concurrency", "7", 7),
        ("max_concurrency_of_team", "7", 7),
        ("backend_timeout", "0.5", 0.5),
        ("openai_url", "http://localhost:8080/v1", HttpUrl("http://localhost:8080/v1")),
        ("openai_api_key", "secret", SecretStr("secret")),
        ("port", "80", 80),
        ("log_level", "debug", "debug"),
    ],
)
def test_a_variable_sets_what_has_its_name(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    value: object,
) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), text)
    assert getattr(load(Settings), name) == value


def test_the_echo_backend_has_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    told = EchoSettings(
        first_token=0.1, per_token=0.2, jitter=0.3, failure_rate=0.4, cut_off_rate=0.5, seed=6
    )
    for name, value in asdict(told).items():
        monkeypatch.setenv(f"{PREFIX}ECHO_{name.upper()}", str(value))
    assert load(Settings).echo() == told


@pytest.mark.parametrize("name", NEEDED)
def test_what_is_missing_is_named_with_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(PREFIX + name)
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    assert f"{PREFIX}{name}: is not set" in str(caught.value)
    assert f"{PREFIX}{name}=" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADMIN_TOKEN", "CHANGE_ME CHANGE_ME"),
        ("ADMIN_TOKEN", "secret"),
        ("SECRET", "change_me" * 4),
        ("SECRET", "secret of less than thirty-two."),
        ("OPENAI_URL", "secret"),
        ("ECHO_FAILURE_RATE", "1.1"),
        ("ECHO_PER_TOKEN", "-1"),
        ("SESSION_TTL", "0"),
        ("MAX_CONCURRENCY", "0"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=f"^{PREFIX}{name}: ") as caught:
        load(Settings)
    assert "secret" not in str(caught.value)


def test_passwords_are_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}OPENAI_API_KEY", "sk-hidden")
    shown = repr(load(Settings))
    assert not any(value in shown for value in ("secret of", ":secret@", "sk-hidden"))
