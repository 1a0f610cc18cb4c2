"""Helpers for runs that rent machines from Hetzner, on a fake of its API."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fake_hetzner
import pytest
from hcloud._client import constant_backoff_function

from stratakit import project, results
from stratakit.cloud import leases, providers
from stratakit.cloud.hetzner import Hetzner
from stratakit.cloud.leases import Lease

SMOKE = """
import os
import urllib.request

def smoke(url, settings):
    assert urllib.request.urlopen(url + "/health/live").status == 200
    if "ANSWERS_WRONG" in os.environ:
        raise ValueError(str(settings))
"""


@contextmanager
def renting(
    account: fake_hetzner.Hetzner, share: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hetzner]:
    """Yield Hetzner as a run uses it, with leases of its own below `share`."""
    with fake_hetzner.running(account) as endpoint:
        monkeypatch.setenv("HCLOUD_TOKEN", fake_hetzner.TOKEN)
        monkeypatch.setenv("HCLOUD_ENDPOINT", endpoint)
        monkeypatch.setenv("XDG_DATA_HOME", str(share))
        made = providers.provider("hetzner")
        assert isinstance(made, Hetzner)
        # The client would retry temporary errors after pauses of up to half a minute.
        made.client._client._retry_interval_func = constant_backoff_function(0)
        # The fake's machines do not exist, so waiting until they let somebody in is useless.
        made.boot = 0.0
        yield made


def plant_smoke_request() -> None:
    """Write a smoke request for the project's service; several processes may do so at once."""
    (service,) = project.services()
    results.write(service.path / "tests" / "smoke.py", SMOKE)


def new_lease(seconds: int = 600, written: timedelta = timedelta(0), **more: Any) -> Lease:
    """Write a lease that ends in `seconds` and claims to have been written that long ago."""
    (service,) = project.services()
    values: dict[str, Any] = {
        "id": leases.new_id(seconds),
        "provider": "hetzner",
        "service": service.name,
        "written": (datetime.now(UTC) - written).isoformat(),
        "seconds": seconds,
        "usd_per_hour": 0.03,
        "max_usd": 0.30,
        "instance": "cpx31",
        "region": "hel1",
    }
    made = Lease(**(values | more))
    made.save()
    return made
