"""Renaming a service on this machine: all that it keeps, or nothing. What is in files: tests/bake."""

from dataclasses import replace
from pathlib import Path

import pytest

from stratakit import project
from stratakit.scaffold import rename
from stratakit.stack import service_env


def test_settings_are_as_they_were_if_what_follows_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv, secrets = tmp_path / ".env", tmp_path / "secrets.json"
    monkeypatch.setattr(service_env, "FILE", dotenv)
    monkeypatch.setattr(service_env, "secrets_file", lambda: secrets)
    old = project.services()[0]
    before = f"{old.prefix}PORT=8001\nOTHER=1\n"
    dotenv.write_text(before)
    secrets.write_text("{")
    plan = rename.Plan(old, replace(old, name="billing", package="billing"), {}, ())
    with pytest.raises(ValueError, match="Expecting property name"):
        rename.carry_out(plan, [])
    assert dotenv.read_text() == before
