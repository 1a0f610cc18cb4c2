"""Leases: what is written down of a machine before it exists, so that none is ever forgotten.

The id of a lease is what its machine is tagged with, and says until when it may exist: a machine
that is found by its tag alone, on whatever computer, is known to be over. Who runs the tier holds
the lock of its lease for as long as it lives, so that a lease of a run that was killed is told from
one in use without a clock.
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
"""By how much a clock may be put back before no lease says any more how old it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A machine that may exist until a time, and cost so much."""

    id: str
    """Its tag, too: lower case, digits and `-`, at most 63 characters, as all clouds allow."""
    provider: str
    service: str
    written: str
    """When, in UTC, as ISO 8601 has it."""
    seconds: int
    """How long the machine may exist."""
    usd_per_hour: float
    max_usd: float
    instance: str = ""
    region: str = ""
    keep: bool = False
    """Whether the machine is to go on when the run has ended."""

    @property
    def folder(self) -> Path:
        """Where all that is known of it is kept."""
        return home() / self.id

    @property
    def expires(self) -> datetime:
        """Until when the machine may exist."""
        return expires(self.id)

    def is_over(self, now: datetime | None = None) -> bool:
        """Return whether its time is over, or cannot be told since the clock was put back."""
        now = now or datetime.now(UTC)
        return now >= self.expires or now < datetime.fromisoformat(self.written) - BACK

    def in_use(self) -> bool:
        """Return whether the run that has taken it still lives."""
        return liveness.is_held(self.folder / LOCK)

    def save(self) -> None:
        """Write it down.

        Raises:
            InfrastructureError: that cannot be done; no machine may be made then.
        """
        with translated("a lease cannot be written, without which no machine is made"):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            results.write(self.folder / FILE, json.dumps(asdict(self), indent=2) + "\n")

    def forget(self) -> None:
        """Remove what is known of it: its machine is gone."""
        shutil.rmtree(self.folder, ignore_errors=True)


def home() -> Path:
    """Return the folder of the project's leases: not in the checkout, which may be removed."""
    return user_data_path(str(table()["project"])) / "cloud"


def expires(id_: str) -> datetime:
    """Return until when a machine of this tag may exist; one that is not ours is over."""
    found = _ID.fullmatch(id_)
    if not found:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.strptime(found["expires"], _WRITTEN).replace(tzinfo=UTC)


def is_over(tag: str) -> bool:
    """Return whether the time of a machine of this tag is over."""
    return datetime.now(UTC) >= expires(tag)


def strays() -> list[Path]:
    """Return folders in which no lease was written, since their runs were killed before."""
    found = (each for each in home().glob("*") if not (each / FILE).exists())
    return [each for each in found if is_over(each.name)]


def is_ours(tag: str) -> bool:
    """Return whether a tag is the id of a lease of this project."""
    return bool(_ID.fullmatch(tag)) and tag.startswith(f"{table()['project']}-")


def new_id(seconds: int) -> str:
    """Return the id of a lease that begins now."""
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    return f"{table()['project']}-{end:{_WRITTEN}}-{secrets.token_hex(3)}"


def all_of(provider: str | None = None) -> list[Lease]:
    """Return the leases that are written down on this computer, by provider or all.

    Raises:
        InfrastructureError: one cannot be read, so that nobody knows what it was for.
    """
    found = []
    for file in sorted(home().glob(f"*/{FILE}")):
        try:
            lease = Lease(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:  # Another run has ended meanwhile.
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
    """Write a lease down, and hold it for the length of the block.

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
