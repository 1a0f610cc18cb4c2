"""Comparison of versions with the project's: `python -m stratakit.static.versions FILES`.

`[tool.stratakit]` has two Python versions: `python`, used by images, CI and the devcontainer, and
`oldest_python`, the oldest allowed on a developer's machine; and `postgres`, the major version of
the servers. With `--fix`, differing versions are corrected.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from ..errors import Code, ConfigurationError
from ..pyproject import ROOT, postgres, table

PYTHON, OLDEST, POSTGRES = "python", "oldest_python", "postgres"
"""Keys of `[tool.stratakit]`."""


class Place(NamedTuple):
    """Place of a version: its files, a pattern that finds it, and its key in `[tool.stratakit]`."""

    files: tuple[str, ...]
    """Globs over paths relative to the project, in which `*` also matches slashes."""
    pattern: str
    """Regular expression whose one group is the version, such as 3.13 or 17, or 313 without dot."""
    key: str
    by_hand: bool = False
    """Whether more than the version has to be corrected, so that --fix leaves it alone."""


DOCKERFILES = ("Dockerfile", "*/Dockerfile", "*.Dockerfile")
COMPOSE = ("compose*.yaml", "services/*/compose.yaml")
MANIFESTS = ("pyproject.toml", "*/pyproject.toml")
WORKFLOWS = (".github/workflows/*", ".github/actions/*")
_VERSION = r"(\d+\.\d+)\b"
_IMAGE = r"""^(?:[^#\n]*[\s"'/])?(?:postgres:|postgis:|pgvector:pg)"""
_FIRST_CLASSIFIER = rf'\A(?s:.*?)"Programming Language :: Python :: {_VERSION}'

PLACES = (
    Place(DOCKERFILES, rf"^ARG PYTHON={_VERSION}", PYTHON),
    Place((*DOCKERFILES, *COMPOSE), rf"^\s*(?:FROM|image:).*\bpython:{_VERSION}", PYTHON),
    Place((".devcontainer/*",), rf"devcontainers/python:(?:\d+-)?{_VERSION}", PYTHON),
    Place((".python-version", "*/.python-version"), rf"^{_VERSION}", PYTHON),
    Place(WORKFLOWS, rf"""^\s*-?\s*(?:python-version|UV_PYTHON):\s*["']?{_VERSION}""", PYTHON),
    Place(MANIFESTS, rf'^requires-python\s*=\s*">=\s*{_VERSION}', OLDEST),
    Place(MANIFESTS, _FIRST_CLASSIFIER, OLDEST, by_hand=True),
    Place(("noxfile.py", "tasks.py"), rf'^# requires-python = ">=\s*{_VERSION}', OLDEST),
    Place((*MANIFESTS, "*ruff.toml"), r'^target-version\s*=\s*"py(\d+)\b', OLDEST),
    Place((*MANIFESTS, "pyrefly.toml"), rf'^python-version\s*=\s*"{_VERSION}', OLDEST),
    Place((*COMPOSE, *WORKFLOWS, ".devcontainer/*"), rf"{_IMAGE}(\d\d)\b", POSTGRES),
)
FILES = tuple(dict.fromkeys(file for place in PLACES for file in place.files))


class Difference(NamedTuple):
    """Version that differs from the project's."""

    start: int
    """Offset in the text."""
    found: str
    wanted: str
    place: Place


def differences(file: str, text: str) -> Iterator[Difference]:
    """Yield the differing versions in the text of a file, for each place from top to bottom.

    Raises:
        ConfigurationError: `[tool.stratakit]` holds something that is not a version.
    """
    for place in PLACES:
        if not any(fnmatchcase(file, glob) for glob in place.files):
            continue
        version = wanted(place.key)
        for found in re.finditer(place.pattern, text, re.MULTILINE) if version else ():
            spelt = version if "." in found[1] else version.replace(".", "")
            if found[1] != spelt:
                yield Difference(found.start(1), found[1], spelt, place)


def corrected(file: str, text: str) -> str:
    """Return the text of a file with the project's versions, except in places fixed by hand."""
    chosen = [each for each in differences(file, text) if not each.place.by_hand]
    for each in sorted(chosen, reverse=True):
        text = text[: each.start] + each.wanted + text[each.start + len(each.found) :]
    return text


def correct(root: Path, files: Sequence[str]) -> None:
    """Correct the versions in files, given by paths relative to `root`."""
    for file in files:
        if any(fnmatchcase(file, glob) for glob in FILES):
            text = (root / file).read_text(encoding="utf-8")
            fixed = corrected(file, text)
            if fixed != text:
                (root / file).write_text(fixed, encoding="utf-8", newline="")


def wanted(key: str) -> str:
    """Return one of the project's versions, or "" if it is not set.

    Raises:
        ConfigurationError: it is not a version, or `python` is older than `oldest_python`.
    """
    if key == POSTGRES:
        return postgres()
    versions = {name: table().get(name, "") for name in (PYTHON, OLDEST)}
    for name, version in versions.items():
        if not (isinstance(version, str) and re.fullmatch(r"(\d+\.\d+)?", version)):
            raise ConfigurationError(
                f"{name} in [tool.stratakit] of pyproject.toml is {version!r}, not a version",
                f'write it as a string of two numbers: {name} = "3.13"',
            )
    numbers = [[int(part) for part in each.split(".")] for each in versions.values() if each]
    if len(numbers) > 1 and numbers[0] < numbers[1]:
        raise ConfigurationError(
            f"[tool.stratakit] of pyproject.toml has python = {versions[PYTHON]!r}, which is older"
            f" than oldest_python = {versions[OLDEST]!r}",
            "raise `python`, or lower `oldest_python`",
        )
    return str(versions[key])


def main() -> Code:
    """Print the differences in the given files, and return the exit code."""
    files = [Path(word).as_posix() for word in sys.argv[1:] if word != "--fix"]
    try:
        if "--fix" in sys.argv:
            correct(ROOT, files)
        found = [_said(file, each) for file in files for each in differences(file, _text(file))]
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    sys.stdout.writelines(found)
    return Code.FAILED if found else Code.PASSED


def _text(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def _said(file: str, each: Difference) -> str:
    line = _text(file)[: each.start].count("\n") + 1
    return f"{file}:{line}: {each.found}, but {each.place.key} is {wanted(each.place.key)}\n"


if __name__ == "__main__":
    sys.exit(main())
