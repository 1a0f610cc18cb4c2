"""A run of the tier that rents from Hetzner, as far as a fake of its API has machines."""

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
    """Yield Hetzner as a run has it, whose leases, below `share`, are nobody else's."""
    with fake_hetzner.running(account) as endpoint:
        monkeypatch.setenv("HCLOUD_TOKEN", fake_hetzner.TOKEN)
        monkeypatch.setenv("HCLOUD_ENDPOINT", endpoint)
        monkeypatch.setenv("XDG_DATA_HOME", str(share))
        made = providers.provider("hetzner")
        assert isinstance(made, Hetzner)
        # It repeats what is refused for a moment, after pauses of up to half a minute.
        made.client._client._retry_interval_func = constant_backoff_function(0)
        # Nobody is let in by a machine that is not there.
        made.boot = 0.0
        yield made


def plant_smoke_request() -> None:
    """Have the service of the project asked, which every process here may do at once."""
    (service,) = project.services()
    results.write(service.path / "tests" / "smoke.py", SMOKE)


def new_lease(seconds: int = 600, written: timedelta = timedelta(0), **more: Any) -> Lease:
    """Write a lease down that ends in `seconds`, and says that it was written that long ago."""
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
