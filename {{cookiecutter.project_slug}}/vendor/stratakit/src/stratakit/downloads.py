"""Files of a service that are too large for git, such as a language model.

`[tool.stratakit.service.downloads]` in its pyproject.toml lists them:

    words = { url = "https://...", sha256 = "...", path = "models/words.bin" }
"""

import hashlib
import http.client
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    TypeAdapter,
    ValidationError,
)

from . import project, pyproject
from .errors import ConfigurationError, InfrastructureError, StrataError

TIMEOUT = 30.0
"""Seconds to wait for the next block of a file."""
PART = ".part"
"""Suffix of a partial download."""
STALE = 600.0
"""Seconds without a write after which a partial download is abandoned."""
_BLOCK = 2**20


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or not path.name or ".." in path.parts:
        raise ValueError("it should be a path within the service's folder")
    return value


class Source(BaseModel):
    """Entry of a file in the `downloads` table of a service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: HttpUrl
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    path: Annotated[str, AfterValidator(_inside)]


@dataclass(frozen=True, slots=True)
class Download:
    """A file that a service downloads."""

    service: project.Service
    name: str
    source: Source

    @property
    def target(self) -> Path:
        """Path of the downloaded file."""
        return self.service.path / self.source.path

    @property
    def there(self) -> bool:
        """Whether the file exists with the right checksum."""
        try:
            with self.target.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.source.sha256
        except OSError:
            # `fetch` reports whatever else is in the way.
            return False

    def fetch(self) -> None:
        """Download the file; on failure, the target is left as it was.

        Proxies are taken from the environment.

        Raises:
            InfrastructureError: the server does not respond, or not with the whole file, or the
                disk is full.
            StrataError: the checksum differs. Retrying would not help.
        """
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with _part(self.target) as part:
                found = self._receive(part)
                if found != self.source.sha256:
                    raise StrataError(
                        f"{self.source.url} is not the file that {self.name} names: its SHA-256 is"
                        f" {found}; it was not kept",
                        f"find out why before you change {self._table}",
                    )
                # Temporary files are readable by their owner only; containers read this one, too.
                Path(part.name).chmod(0o644)
                Path(part.name).replace(self.target)
        except OSError as error:
            raise InfrastructureError(
                f"{self.name} cannot be written to {self.target}: {error}",
                "make room on the disk, or fix the folder; then try again",
            ) from error

    def _receive(self, part: IO[bytes]) -> str:
        """Write the response to a file; return its SHA-256."""
        digest = hashlib.sha256()
        for block in self._blocks():
            part.write(block)
            digest.update(block)
        part.flush()
        return digest.hexdigest()

    def _blocks(self) -> Iterator[bytes]:
        """Yield the blocks of the response; errors here are the network's, not the disk's."""
        received = 0
        try:
            # HttpUrl allows only http and https.
            with urllib.request.urlopen(str(self.source.url), timeout=TIMEOUT) as response:  # noqa: S310
                while block := response.read(_BLOCK):
                    received += len(block)
                    yield block
                size = response.headers["Content-Length"]
            # A dropped connection looks like the end of the file.
            if size is not None and received != int(size):
                raise ConnectionError(f"the connection broke after {received} of {size} bytes")
        except (OSError, http.client.HTTPException) as error:
            raise InfrastructureError(
                f"{self.name} cannot be downloaded from {self.source.url}: {error}",
                "check the network and HTTPS_PROXY; then try again",
            ) from error

    @property
    def _table(self) -> str:
        return f"[tool.stratakit.service.downloads] of services/{self.service.name}/pyproject.toml"


def find(name: str, services: Sequence[project.Service]) -> Download:
    """Return the download `name` of these services.

    Raises:
        ConfigurationError: no service has it, or several do, or a table is invalid.
    """
    known = [each for service in services for each in downloads(service)]
    found = [each for each in known if each.name == name]
    if len(found) > 1:
        names = " and ".join(each.service.name for each in found)
        raise ConfigurationError(f"{names} have a download {name!r} each", "pass --service")
    if not found:
        names = ", ".join(each.name for each in known) or "none"
        raise ConfigurationError(
            f"there is no download {name!r}; there are: {names}",
            "name it in [tool.stratakit.service.downloads] of a service's pyproject.toml",
        )
    return found[0]


def downloads(service: project.Service) -> list[Download]:
    """Return the downloads of a service.

    Raises:
        ConfigurationError: its table is invalid.
    """
    file = service.path / "pyproject.toml"
    settings = tomllib.loads(file.read_text(encoding="utf-8"))
    table = settings["tool"]["stratakit"]["service"].get("downloads", {})
    try:
        sources = TypeAdapter(dict[str, Source]).validate_python(table)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, ("downloads", *problem["loc"])))
        raise ConfigurationError(
            f"{where} in {file.relative_to(pyproject.ROOT)} is not valid: {problem['msg']}",
            'write it so: name = { url = "https://...", sha256 = "...", path = "models/..." }',
        ) from None
    return [Download(service, name, source) for name, source in sources.items()]


@contextmanager
def _part(target: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file beside the target; it is removed afterwards unless it was moved.

    Each run has its own, so that concurrent runs do not write to the same file.
    """
    for left in target.parent.glob(f"{target.name}.*{PART}"):
        # Its own run may move it at the same time.
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - STALE:
                left.unlink()
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f"{target.name}.", suffix=PART, delete=False
    ) as part:
        try:
            yield part
        finally:
            Path(part.name).unlink(missing_ok=True)
