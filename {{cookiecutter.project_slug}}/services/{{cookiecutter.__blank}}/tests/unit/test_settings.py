"""Settings of the service, beyond those that servicebase tests."""

import pytest

from servicebase.settings import SettingsError

from {{ cookiecutter.__package }}.settings import PREFIX, Settings, load


def test_it_has_a_port_of_its_own_and_remembers_a_key_for_a_day() -> None:
    fields = Settings.model_fields
    assert fields["port"].default == {{ cookiecutter.__port }}
    assert fields["idempotency_ttl"].default == 86_400


@pytest.mark.parametrize(("name", "value"), [("IDEMPOTENCY_TTL", "0"), ("PORT", "65536")])
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=f"(?m)^{PREFIX}{name}: "):
        load(Settings)
