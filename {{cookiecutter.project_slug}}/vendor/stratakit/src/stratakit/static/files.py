"""Which files the project has, and which package each belongs to."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from .. import limits, location, runner
from ..errors import ConfigurationError
from ..pyproject import ROOT
from .checks import is_vendored


def project_files() -> list[str]:
    """Return the files that git would commit, as paths relative to the project.

    Without git, or in a repository that ignores the whole project, .gitignore alone decides.
    """
    listed = set(_listed())
    files = listed if "pyproject.toml" in listed else set(_walked())
    return sorted(file for file in files if (ROOT / file).is_file())


def choose(files: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return those of `files` that `names` name, or that are in folders that these name.

    Raises:
        ConfigurationError: one of the names is no file.
    """
    found = {name: runner.find(name) for name in names}
    for name, path in found.items():
        if not path:
            raise ConfigurationError(
                f"there is no file {name}", "name one, for example: noxfile.py"
            )
    named = {location.relative(path.resolve()) for path in found.values() if path}
    return [file for file in files if not named.isdisjoint((Path(file), *Path(file).parents))]


def packages(files: Iterable[str]) -> list[str]:
    """Return the folders with a pyproject.toml, the deepest first and the project itself last."""
    folders = {
        Path(file).parent.as_posix()
        for file in files
        if Path(file).name == "pyproject.toml" and not is_vendored(file)
    }
    return sorted(folders, key=lambda folder: (-len(Path(folder).parts), folder))


def package_of(file: str, folders: Iterable[str]) -> str:
    """Return the one of `folders`, as `packages` orders them, that `file` belongs to."""
    return next(folder for folder in folders if Path(file).is_relative_to(folder))


def _listed() -> Iterator[str]:
    """Yield what git lists; nothing if it cannot."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, check=True, timeout=limits.COMMAND
        )
    except (OSError, subprocess.SubprocessError):
        return
    yield from filter(None, os.fsdecode(done.stdout).split("\0"))


def _walked() -> Iterator[str]:
    """Yield what plain names and globs in .gitignore leave."""
    file = ROOT / ".gitignore"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    globs = [".git", *(line.strip("/") for line in lines if line and not line.startswith("#"))]

    def kept(name: str) -> bool:
        return not any(fnmatchcase(name, glob) for glob in globs)

    for folder, folders, names in os.walk(ROOT):
        folders[:] = filter(kept, folders)
        for name in filter(kept, names):
            yield (Path(folder) / name).relative_to(ROOT).as_posix()
