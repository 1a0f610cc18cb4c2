"""Where the project is, and what its pyproject.toml says to the engine.

Standard library only, since noxfile.py imports it in whatever environment runs nox.
"""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from .errors import ConfigurationError, did_you_mean

KEYS = (
    *("project", "python", "oldest_python", "postgres", "destroyable_hosts", "uncleaned"),
    *("coverage", "static", "cloud", "infrastructure", "load", "tiers"),
)
"""What `[tool.stratakit]` of the project may hold."""


def names_project(folder: Path) -> bool:
    """Return whether the pyproject.toml of a folder names a project; that of a service does not."""
    try:
        table = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "project" in table.get("tool", {}).get("stratakit", {})


def _root() -> Path:
    """Return the folder of the project: the one around this package, else around a process."""
    # In vendor/stratakit/, or in engine/ once it is ejected.
    for above in Path(__file__).resolve().parents[3:5]:
        if (above / "noxfile.py").is_file():
            return above
    here = Path.cwd()
    return next((each for each in (here, *here.parents) if names_project(each)), here)


ROOT = _root()
REPORTS = ROOT / "reports"


@cache
def table() -> dict[str, Any]:
    """Return the `[tool.stratakit]` table of the project.

    Raises:
        ConfigurationError: pyproject.toml is not readable, or does not name the project there, or
            holds a key that nothing reads.
    """
    found = tool(ROOT / "pyproject.toml", "stratakit")
    refuse_unknown(found, KEYS, "[tool.stratakit] of pyproject.toml")
    if "project" not in found:
        raise ConfigurationError(
            "`project` is not set in [tool.stratakit] of pyproject.toml",
            'add it, for example: [tool.stratakit] project = "acme"',
        )
    return found


def postgres() -> str:
    """Return the major version of PostgreSQL, whichever way it is run.

    Raises:
        ConfigurationError: it is not a version.
    """
    major = table().get("postgres", "17")
    if not (isinstance(major, str) and re.fullmatch(r"\d\d", major)):
        raise ConfigurationError(
            f"postgres in [tool.stratakit] of pyproject.toml is {major!r}, not a major version",
            'write it as a string: postgres = "17"',
        )
    return major


def pytest_settings() -> dict[str, Any]:
    """Return the settings of pytest, in either of the two tables that it reads.

    Raises:
        ConfigurationError: pyproject.toml is not readable.
    """
    found = tool(ROOT / "pyproject.toml", "pytest")
    return {**found.get("ini_options", {}), **found}


def required(tier: str) -> list[str]:
    """Return `require` of the table `[tool.stratakit.TIER]`: what of a tier must not be absent.

    Raises:
        ConfigurationError: it is not a list of names.
    """
    where = f"[tool.stratakit.{tier}]"
    found = table().get(tier, {})
    refuse_unknown(found, ("require",), f"{where} of pyproject.toml")
    names = found.get("require", [])
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise ConfigurationError(
            f"{where} in pyproject.toml holds {found}, not a list of names",
            'write, for example: require = ["docker"]',
        )
    return names


def refuse_unknown(table: dict[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse a key that nothing reads: whoever wrote it believes that it has an effect.

    Raises:
        ConfigurationError: there is one in `table`, which stands at `where`.
    """
    known = tuple(known)
    for key in table:
        if key not in known:
            raise ConfigurationError(
                f"{where} has an unknown key {key}",
                did_you_mean(key, known, f"its keys are {', '.join(known)}"),
            )


def tool(file: Path, name: str) -> dict[str, Any]:
    """Return the table of a tool in a pyproject.toml, empty where it has none.

    Raises:
        ConfigurationError: the file is not readable, or has the table of an older version.
    """
    tools: dict[str, Any] = read(file).get("tool", {})
    if "ops" in tools:
        raise ConfigurationError(
            f"{file} has a table [tool.ops], which is called [tool.stratakit] now",
            "python3 vendor/stratakit/upgrade.py",
        )
    found: dict[str, Any] = tools.get(name, {})
    return found


def read(file: Path) -> dict[str, Any]:
    """Return what a pyproject.toml holds.

    Raises:
        ConfigurationError: it is not readable.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error}", "fix the file, or take it from git again"
        ) from error
