"""Compare the vendored engine with its manifest: `python -m stratakit.manifest`.

A team does not maintain these files and need not read them: an update replaces them all. The
manifest lists each with its SHA-256, so that `nox -s static` can report files that were changed,
lost or added. Baking writes it. Standard library only, since the template's hook imports it.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from . import streams
from .errors import Code, ConfigurationError

ENGINE = Path(__file__).resolve().parents[2]
NAME = "manifest.sha256"
LEFT_BY_TOOLS = ("__pycache__", ".*", "*.egg-info", "reports", NAME)
"""Names that are neither listed nor reported as extra."""


def compute(engine: Path = ENGINE) -> dict[str, str]:
    """Return the SHA-256 of each file of the engine, by its path relative to the engine."""
    return {
        path.relative_to(engine).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(_sources(engine))
    }


def write(engine: Path = ENGINE) -> None:
    """Write the manifest of the files as they are now."""
    lines = (f"{digest}  {name}\n" for name, digest in compute(engine).items())
    (engine / NAME).write_text("".join(lines), encoding="utf-8", newline="\n")


def read(engine: Path = ENGINE) -> dict[str, str]:
    """Return the manifest: the SHA-256 of each file by its path.

    Raises:
        ConfigurationError: it is missing or cannot be read.
    """
    file = engine / NAME
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the engine's manifest cannot be read: {error}", f"git checkout -- {file}"
        ) from error
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def differences(engine: Path = ENGINE) -> list[str]:
    """Return a line for each file that differs from the manifest.

    An ignored file would be missing from every clone, so files outside of git's index are reported
    as well, as soon as the index has any file of the engine.

    Raises:
        ConfigurationError: the manifest is missing or cannot be read.
    """
    wanted, present, index = read(engine), compute(engine), _index(engine)
    both = wanted.keys() & present.keys()
    return [
        *(f"changed: {name}" for name in sorted(both) if wanted[name] != present[name]),
        *(f"missing: {name}" for name in wanted if name not in present),
        *(f"extra: {name}" for name in present if name not in wanted),
        *(f"not in git: {name}" for name in sorted(both) if index and name not in index),
    ]


def _sources(engine: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(engine):
        folders[:] = [name for name in folders if not _is_left(name)]
        yield from (Path(folder) / name for name in names if not _is_left(name))


def _is_left(name: str) -> bool:
    return any(Path(name).match(pattern) for pattern in LEFT_BY_TOOLS)


def _index(engine: Path) -> set[str]:
    """Return the files of the engine in git's index; none without git or a repository."""
    command = ("git", "ls-files", "-z", "--cached", ".")
    try:
        done = subprocess.run(command, cwd=engine, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return set()
    return set(filter(None, os.fsdecode(done.stdout).split("\0")))


def main() -> Code:
    """Print what differs from the manifest, or write it with `--write`."""
    if "--write" in sys.argv:
        write()
        return Code.PASSED
    try:
        found = differences()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    sys.stdout.writelines(f"{line}\n" for line in found)
    return Code.FAILED if found else Code.PASSED


if __name__ == "__main__":
    streams.prepare()
    sys.exit(main())
