"""What speaks against adding a service, or against removing one."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigurationError
from ..git import GitError, git
from ..project import Service
from ..pyproject import ROOT

SERVICES = ROOT / "services"
SHOWN = 5
"""Names that a message has before it says how many more there are."""


def refuse_taken(name: str) -> None:
    """Refuse the name of a service where services/ has something of that name, or libs/ a library.

    Raises:
        ConfigurationError: it has.
    """
    if (ROOT / "libs" / name / "pyproject.toml").exists():
        # Its tests may come later: then it would not be known whose those of a tier are.
        raise ConfigurationError(
            f"there is a library {name} already, in libs/{name}", "take another name"
        )
    there = {entry.name: entry for entry in SERVICES.iterdir()} if SERVICES.exists() else {}
    if name not in there:
        return
    folder = f"services/{name}"
    if (there[name] / "pyproject.toml").exists():
        raise ConfigurationError(
            f"there is a service {name} already, in {folder}",
            "take another name; uv run invoke service.list shows those that are taken",
        )
    found = [each.name for each in there[name].iterdir()] if there[name].is_dir() else ["a file"]
    raise ConfigurationError(
        f"{folder} is there and is no service: {_few(found) or 'an empty folder'}",
        f"look at it, and take it away: rm -r {folder}",
    )


def refuse_hiding(fresh: Path) -> None:
    """Refuse a service whose package a library or another service has: one would hide the other.

    Raises:
        ConfigurationError: one has.
    """
    for package in (fresh / "src").iterdir():
        for other in ROOT.glob(f"*/*/src/{package.name}"):
            raise ConfigurationError(
                f"{other.relative_to(ROOT)} is there already, and of two packages that are called"
                f" {package.name} one would hide the other",
                "take another name",
            )


def refuse_uncommitted(service: Service) -> None:
    """Refuse to lose a service that git could not bring back.

    Raises:
        ConfigurationError: it has changes that are not committed, or git knows nothing of it.
        InfrastructureError: git is not installed.
    """
    folder = service.path.relative_to(ROOT).as_posix()
    status = ("status", "--porcelain", "--untracked-files=all", "--no-renames", "-z")
    try:
        entries = git(ROOT, *status, "--", folder).split("\0")
        changed = [entry.partition(f"{folder}/")[2] for entry in entries if entry]
        if not changed:
            # Of a folder that is ignored as a whole, the status says nothing.
            git(ROOT, "ls-files", "--error-unmatch", "--", f"{folder}/pyproject.toml")
    except GitError as error:
        raise ConfigurationError(
            f"nothing could bring {folder} back, since git says: {error}",
            f"uv run invoke service.remove {service.name} --force",
        ) from error
    if changed:
        raise ConfigurationError(
            f"{folder} has changes that are not committed, and would be lost: {_few(changed)}",
            f"commit them, or: uv run invoke service.remove {service.name} --force",
        )


def refuse_needed(service: Service) -> None:
    """Refuse to remove what another package of the project depends on.

    Raises:
        ConfigurationError: one does.
    """
    for file in (*ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")):
        uv = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("uv", {})
        if service.distribution in uv.get("sources", {}):
            raise ConfigurationError(
                f"{file.relative_to(ROOT)} has {service.distribution} among its sources, so"
                f" services/{service.name} is needed",
                "take it out of there, then run it again",
            )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more
