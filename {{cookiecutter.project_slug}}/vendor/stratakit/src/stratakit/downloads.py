"""Files that a service wants and that are too large for git, such as a language model.

`[tool.stratakit.service.downloads]` in its pyproject.toml names them:

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
"""Seconds to wait for the next part of a file."""
PART = ".part"
"""How the name of a file ends that is not whole yet."""
STALE = 600.0
"""Seconds without a new part after which nobody can be at work on a file."""
_BLOCK = 2**20


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or not path.name or ".." in path.parts:
        raise ValueError("it should be a path within the service's folder")
    return value


class Source(BaseModel):
    """What a service says of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: HttpUrl
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    path: Annotated[str, AfterValidator(_inside)]


@dataclass(frozen=True, slots=True)
class Download:
    """A file that a service wants."""

    service: project.Service
    name: str
    source: Source

    @property
    def target(self) -> Path:
        """Return where it belongs."""
        return self.service.path / self.source.path

    @property
    def there(self) -> bool:
        """Return whether it is there, and the right one."""
        try:
            with self.target.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.source.sha256
        except OSError:
            # Whatever else is in its way is told by the one who writes.
            return False

    def fetch(self) -> None:
        """Fetch it; its target is then the right file, or what it was before.

        The proxies are those of the environment.

        Raises:
            InfrastructureError: its server does not answer, or not with the whole file, or there is
                no room for it.
            StrataError: what came is another file. To try again would not help.
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
                # A temporary file is its owner's alone; a container reads this one, too.
                Path(part.name).chmod(0o644)
                Path(part.name).replace(self.target)
        except OSError as error:
            raise InfrastructureError(
                f"{self.name} cannot be written to {self.target}: {error}",
                "make room on the disk, or fix the folder; then try again",
            ) from error

    def _receive(self, part: IO[bytes]) -> str:
        """Write what the server sends; return its SHA-256."""
        digest = hashlib.sha256()
        for block in self._blocks():
            part.write(block)
            digest.update(block)
        part.flush()
        return digest.hexdigest()

    def _blocks(self) -> Iterator[bytes]:
        """Yield what the server sends; what goes wrong is the network's fault, not the disk's."""
        received = 0
        try:
            # HttpUrl lets no other scheme pass.
            with urllib.request.urlopen(str(self.source.url), timeout=TIMEOUT) as response:  # noqa: S310
                while block := response.read(_BLOCK):
                    received += len(block)
                    yield block
                size = response.headers["Content-Length"]
            # A connection that breaks off looks like the end.
            if size is not None and received != int(size):
                raise ConnectionError(f"it broke off after {received} of {size} bytes")
        except (OSError, http.client.HTTPException) as error:
            raise InfrastructureError(
                f"{self.name} cannot be had from {self.source.url}: {error}",
                "look at the network, and at HTTPS_PROXY; then try again",
            ) from error

    @property
    def _table(self) -> str:
        return f"[tool.stratakit.service.downloads] of services/{self.service.name}/pyproject.toml"


def find(name: str, services: Sequence[project.Service]) -> Download:
    """Return the file called `name` that one of these services wants.

    Raises:
        ConfigurationError: none does, or more than one, or one of their tables is wrong.
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
    """Return the files that a service wants.

    Raises:
        ConfigurationError: its table is wrong.
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
    """Yield a file beside the target that is gone afterwards, unless it was moved.

    Each run has its own, so that two at the same time do not mix what they write.
    """
    for left in target.parent.glob(f"{target.name}.*{PART}"):
        # Its own run may be just about to move it.
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
