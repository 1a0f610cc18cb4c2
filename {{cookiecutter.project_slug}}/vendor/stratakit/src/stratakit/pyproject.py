"""Root folder of the project, and the engine's settings in its pyproject.toml.

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
"""Keys of `[tool.stratakit]` in the project's pyproject.toml."""


def names_project(folder: Path) -> bool:
    """Return whether a folder is the root of a project, by its pyproject.toml."""
    try:
        table = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "project" in table.get("tool", {}).get("stratakit", {})


def _root() -> Path:
    """Return the root of the project: above this package, else above the working directory."""
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
        ConfigurationError: pyproject.toml is not readable, or the table lacks the name of the
            project or has an unknown key.
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
    """Return the major version of PostgreSQL, the same for every source of servers.

    Raises:
        ConfigurationError: it is not a major version.
    """
    major = table().get("postgres", "17")
    if not (isinstance(major, str) and re.fullmatch(r"\d\d", major)):
        raise ConfigurationError(
            f"postgres in [tool.stratakit] of pyproject.toml is {major!r}, not a major version",
            'write it as a string: postgres = "17"',
        )
    return major


def pytest_settings() -> dict[str, Any]:
    """Return the settings of pytest, from either of the two tables that it reads.

    Raises:
        ConfigurationError: pyproject.toml is not readable.
    """
    found = tool(ROOT / "pyproject.toml", "pytest")
    return {**found.get("ini_options", {}), **found}


def required(tier: str) -> list[str]:
    """Return `require` of `[tool.stratakit.TIER]`: the parts of a tier that must not be absent.

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
    """Refuse unknown keys, which would otherwise be silently ignored.

    Raises:
        ConfigurationError: `table` has one; the message calls the table `where`.
    """
    known = tuple(known)
    for key in table:
        if key not in known:
            raise ConfigurationError(
                f"{where} has an unknown key {key}",
                did_you_mean(key, known, f"its keys are {', '.join(known)}"),
            )


def tool(file: Path, name: str) -> dict[str, Any]:
    """Return the table of a tool in a pyproject.toml; empty if there is none.

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
    """Return the content of a pyproject.toml.

    Raises:
        ConfigurationError: it is not readable.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error}", "fix the file, or take it from git again"
        ) from error
