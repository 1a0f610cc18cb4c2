"""Settings from the environment, and the errors for invalid ones."""

import os
from pathlib import Path

import pytest
from pydantic import HttpUrl, SecretStr

from servicebase.settings import SettingsError, load

from gateway.adapters.echo import EchoSettings
from gateway.settings import PREFIX, Settings

NEEDED = {
    "DATABASE_URL": "postgresql://user:secret@db:5433/name",
    "REDIS_URL": "redis://:secret@cache:6379/0",
    "ADMIN_TOKEN": "secret of sixteen",  # pragma: allowlist secret
    "SECRET": "secret of thirty-two characters.",  # pragma: allowlist secret
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A valid environment without the user's variables and without a `.env`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {PREFIX + name: value for name, value in NEEDED.items()})


def test_a_variable_sets_its_field_and_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "registration": False,
        "session_ttl": 60,
        "max_concurrency": 7,
        "max_concurrency_of_team": 8,
        "backend_timeout": 0.5,
        "openai_url": HttpUrl("http://localhost:8080/v1"),
        **dict(zip(EchoSettings.model_fields, (0.1, 0.2, 0.3, 0.4, 0.5, 6), strict=True)),
    }
    for name, value in told.items():
        monkeypatch.setenv(PREFIX + name.upper(), str(value))
    monkeypatch.setenv(f"{PREFIX}OPENAI_API_KEY", "sk-hidden")
    settings = load(Settings)
    assert {name: getattr(settings, name) for name in told} == told
    assert settings.openai_api_key == SecretStr("sk-hidden")
    assert not any(value in repr(settings) for value in ("secret of", ":secret@", "sk-hidden"))


WRONG = [
    *((name, None) for name in NEEDED),
    ("ADMIN_TOKEN", "CHANGE_ME CHANGE_ME"),
    ("ADMIN_TOKEN", "secret"),
    ("SECRET", "change_me" * 4),
    ("SECRET", "secret of less than thirty-two."),
    ("OPENAI_URL", "secret"),
    ("ECHO_FAILURE_RATE", "1.1"),
    ("ECHO_PER_TOKEN", "-1"),
    ("SESSION_TTL", "0"),
    ("MAX_CONCURRENCY", "0"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_missing_or_invalid_variable_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    variable, told = PREFIX + name, f"^{PREFIX}{name}: "
    if value is None:
        monkeypatch.delenv(variable)
        # The message has an example.
        told += f"is not set(.|\n)*{variable}="
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=told) as caught:
        load(Settings)
    assert value is None or "secret" not in str(caught.value)
