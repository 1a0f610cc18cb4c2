"""The tier cloud on a rented machine, reached over SSH, that has nothing of the project."""

from pathlib import Path

import fake_hetzner
import pytest
import sshd
from baking import Bakery
from project import ready

pytestmark = [
    pytest.mark.proof(of="stack"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(not sshd.PROGRAM, reason=sshd.ABSENT),
]
ACCESS = ("PATH", "UV_", "SSL_")
"""Settings passed on to a machine: the path of uv, and the package index."""


def test_the_cloud_tier_passes_on_a_rented_machine_and_deletes_it(
    bake: Bakery, tmp_path: Path
) -> None:
    project = ready(bake, tmp_path, "Acme Rented")
    account = fake_hetzner.Hetzner(address=sshd.address())
    access = {name: value for name, value in project.environment.items() if name.startswith(ACCESS)}
    try:
        renting = sshd.machine(tmp_path / "m", host=account.address, port=22, environment=access)
        with renting as machine, fake_hetzner.running(account) as endpoint:
            account.booted = lambda keys: machine.keys.write_text("\n".join(keys))
            env = {
                "HCLOUD_TOKEN": fake_hetzner.TOKEN,
                "HCLOUD_ENDPOINT": endpoint,
                "XDG_DATA_HOME": str(tmp_path / "share"),
            }
            done = project.nox("-s", "cloud", "--", "--cloud", "hetzner", env=env)
    except OSError as error:
        pytest.skip(f"no second address, with port 22: {error}")  # Rented machines listen on 22.
    assert done.code == 0, done.output
    steps = {test["name"]: test["status"] for test in done.summary["tests"]}
    names = ("credentials", "launch", "health", "request", "termination")
    assert steps == dict.fromkeys(names, "passed")
    assert (account.servers, account.ssh_keys) == ({}, {})
    assert fake_hetzner.TOKEN not in done.output
