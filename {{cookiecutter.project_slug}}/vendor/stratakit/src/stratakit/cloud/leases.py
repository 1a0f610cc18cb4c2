"""Leases: records written before a machine exists, so that none is ever forgotten.

A machine is tagged with the id of its lease, which contains its expiry: any computer can tell from
the tag alone that a machine has expired. A run holds the lock of its lease while it lives, so that
the lease of a killed run can be told from one in use without a clock.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from platformdirs import user_data_path

from .. import liveness, results
from ..errors import InfrastructureError, translated
from ..pyproject import table
from ..servers.waiting import take

FILE, LOCK = "lease.json", "run.lock"
_ID = re.compile(r"[a-z][a-z0-9-]*-(?P<expires>\d{14})-[0-9a-f]{6}")
_WRITTEN = "%Y%m%d%H%M%S"
BACK = timedelta(minutes=5)
"""Time that the clock may be set back before the age of leases can no longer be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Permission for one machine to exist until an expiry, at a maximum cost."""

    id: str
    """Id, and the machine's tag: lower case, digits and `-`, at most 63 characters."""
    provider: str
    service: str
    written: str
    """Creation time in UTC, in ISO 8601."""
    seconds: int
    """Time to live of the machine in seconds."""
    usd_per_hour: float
    max_usd: float
    instance: str = ""
    region: str = ""
    keep: bool = False
    """Whether the machine keeps running after the run."""

    @property
    def folder(self) -> Path:
        """Folder of its files."""
        return home() / self.id

    @property
    def expires(self) -> datetime:
        """Expiry of the machine."""
        return expires(self.id)

    def is_over(self, now: datetime | None = None) -> bool:
        """Return whether it has expired, or the clock was set back to before its creation."""
        now = now or datetime.now(UTC)
        return now >= self.expires or now < datetime.fromisoformat(self.written) - BACK

    def in_use(self) -> bool:
        """Return whether its run is still alive."""
        return liveness.is_held(self.folder / LOCK)

    def save(self) -> None:
        """Write it to its file.

        Raises:
            InfrastructureError: it cannot be written, so no machine may be created.
        """
        with translated("a lease cannot be written, without which no machine is made"):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            results.write(self.folder / FILE, json.dumps(asdict(self), indent=2) + "\n")

    def forget(self) -> None:
        """Remove its folder; its machine is gone."""
        shutil.rmtree(self.folder, ignore_errors=True)


def home() -> Path:
    """Return the folder of the project's leases, outside the checkout, which may be deleted."""
    return user_data_path(str(table()["project"])) / "cloud"


def expires(id_: str) -> datetime:
    """Return the expiry in a machine's tag; the distant past for one that is not ours."""
    found = _ID.fullmatch(id_)
    if not found:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.strptime(found["expires"], _WRITTEN).replace(tzinfo=UTC)


def is_over(tag: str) -> bool:
    """Return whether a machine with this tag has expired."""
    return datetime.now(UTC) >= expires(tag)


def strays() -> list[Path]:
    """Return expired folders without a lease, whose runs were killed before writing it."""
    found = (each for each in home().glob("*") if not (each / FILE).exists())
    return [each for each in found if is_over(each.name)]


def is_ours(tag: str) -> bool:
    """Return whether a tag is the id of a lease of this project."""
    return bool(_ID.fullmatch(tag)) and tag.startswith(f"{table()['project']}-")


def new_id(seconds: int) -> str:
    """Return the id of a lease that starts now."""
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    return f"{table()['project']}-{end:{_WRITTEN}}-{secrets.token_hex(3)}"


def all_of(provider: str | None = None) -> list[Lease]:
    """Return the leases on this computer, of one provider or all.

    Raises:
        InfrastructureError: a lease cannot be read, so its machine is unknown.
    """
    found = []
    for file in sorted(home().glob(f"*/{FILE}")):
        try:
            lease = Lease(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:  # Its run ended meanwhile.
            continue
        except (OSError, ValueError, TypeError) as error:
            raise InfrastructureError(
                f"the lease {file} cannot be read ({error}); its machine has the tag"
                f" {file.parent.name}",
                f"end that machine in its cloud's console, then: rm -r {file.parent}",
            ) from error
        if provider in (None, lease.provider):
            found.append(lease)
    return found


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Write a lease, and hold its lock for the length of the block.

    Raises:
        InfrastructureError: it cannot be written.
    """
    with translated("a lease cannot be written, without which no machine is made"):
        lease.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(lease.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        take(lock, 1, lambda: (f"the lease {lease.id} is another run's", "run it again"))
        lease.save()
        yield
    finally:
        os.close(lock)
