"""What the environment may say, beside what servicebase has tested."""

from pathlib import Path

import pytest

from servicebase.settings import SettingsError

from {{ cookiecutter.__package }}.settings import PREFIX, Settings, load


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A good environment, and no `.env`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "postgresql://db/name")
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", "redis://cache")


def test_it_has_a_port_of_its_own_and_remembers_a_key_for_a_day() -> None:
    settings = load(Settings)
    assert (settings.port, settings.idempotency_ttl) == ({{ cookiecutter.__port }}, 86_400)


@pytest.mark.parametrize(("name", "value"), [("IDEMPOTENCY_TTL", "0"), ("PORT", "65536")])
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=f"^{PREFIX}{name}: "):
        load(Settings)
