"""Discovery of test files by pytest's settings in pyproject.toml, and the tiers that run them.

A test anywhere in the project that no tier runs is an error, raised before the requested tier runs
its tests. A file that is only named like a test does not count. Files that a conftest.py excludes
(`collect_ignore`) are not known here: use `norecursedirs` for them.
Standard library only, since noxfile.py imports it; the pytest plugin uses it as well.
"""

import ast
import glob
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from . import location, tiers
from .errors import ConfigurationError, InfrastructureError
from .git import GitError, git
from .project import Library, Package, Service, packages
from .pyproject import ROOT, pytest_settings
from .tiers import Scope, Tier

SHOWN = 10
"""Number of files that a message lists before `and N more`."""
DEFAULTS: dict[str, str | list[str]] = {
    "testpaths": ["."],
    "python_files": ["test_*.py", "*_test.py"],
    "norecursedirs": "*.egg .* _darcs build CVS dist node_modules venv {arch}",
    "python_functions": ["test"],
    "python_classes": ["Test"],
}
"""pytest's defaults for settings that pyproject.toml does not have."""

REPOSITORY: tuple[Scope, ...] = ("repository",)

_KINDS: dict[str, type[Package]] = {"services": Service, "libs": Library}


def refuse_strays(chosen: Collection[Package]) -> None:
    """Refuse tests of these packages, and tests of no package, that no tier runs.

    Raises:
        ConfigurationError: there are such tests.
    """
    others = frozenset(each.path for each in packages() if each not in chosen)
    found = [file for file in test_files(others) if is_stray(file)]
    found += _not_ignored([file for file in other_files(others) if is_stray(file)])
    if found:
        raise refusal(found)


def is_stray(file: Path) -> bool:
    """Return whether a file that pytest would collect has tests that no tier runs."""
    return not tiers_of(file) and _holds_tests(file)


@cache
def tiers_of(file: Path) -> tuple[Tier, ...]:
    """Return the tiers that run the tests in a file."""
    file = ROOT / (location.relative(file) or file)
    package = next((each for each in packages() if file.is_relative_to(each.path)), None)
    home, scopes = (package.path, package.scopes) if package else (ROOT, REPOSITORY)
    return tuple(
        tier
        for tier in tiers.load()
        if not tier.module
        and tier.scope in scopes
        and any(file.is_relative_to(home / path) for path in tier.paths)
    )


def test_files(passed_over: frozenset[Path]) -> Iterator[Path]:
    """Yield the files that a bare pytest would collect, except those in `passed_over`."""
    for top in sorted(_tops()):
        if passed_over.isdisjoint((top, *top.parents)):
            yield from _walk(top, passed_over, _setting("norecursedirs"), ours=True)


def other_files(passed_over: frozenset[Path]) -> Iterator[Path]:
    """Yield the files outside of `testpaths` that pytest would collect if asked to.

    Environments, build output, vendored code and nested repositories are skipped, whatever the
    settings are.
    """
    tops = _tops()
    if ROOT not in tops:
        # Vendored code is tested upstream.
        excluded = [*_setting("norecursedirs"), *_words(DEFAULTS["norecursedirs"]), "vendor"]
        yield from _walk(ROOT, passed_over | tops, excluded)


def _tops() -> frozenset[Path]:
    return frozenset(
        ROOT / top
        for path in _setting("testpaths")
        for top in glob.glob(path, root_dir=ROOT, recursive=True)  # noqa: PTH207 - `.` is allowed
    )


def _walk(
    top: Path, passed_over: frozenset[Path], excluded: Sequence[str], *, ours: bool = False
) -> Iterator[Path]:
    """Yield the test files in a folder; follow links only in folders that the settings name."""
    patterns = _setting("python_files")
    for folder, names, files in os.walk(top, followlinks=ours):
        inner = [Path(folder, name) for name in names]
        names[:] = [
            path.name
            for path in inner
            if path not in passed_over
            and not _excluded(path, excluded)
            and (ours or not (path / ".git").exists())
        ]
        for file in (Path(folder, name) for name in sorted(files) if name.endswith(".py")):
            if _matches(file, patterns):
                yield file


def _holds_tests(file: Path) -> bool:
    """Return whether a file has a top-level name that pytest would collect as a test.

    A file with a syntax error counts: pytest would report it.
    """
    try:
        top = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True
    patterns = _setting("python_functions"), _setting("python_classes")
    return any(
        name == "*" or any(_is_named(name, each) for each in patterns) for name in _bound(top.body)
    )


def _bound(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements bind, outside of functions and classes."""
    for each in statements:
        match each:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield each.name
            case ast.ClassDef():
                # pytest collects subclasses of unittest.TestCase under any name.
                of_unittest = any("TestCase" in ast.unparse(base) for base in each.bases)
                yield "*" if of_unittest else each.name
            case ast.ImportFrom():
                yield from (name.asname or name.name for name in each.names)
            case ast.Assign() | ast.AnnAssign():
                targets = each.targets if isinstance(each, ast.Assign) else [each.target]
                yield from (name.id for name in targets if isinstance(name, ast.Name))
            case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While():
                inner = ast.iter_child_nodes(each)
                yield from _bound(node for node in inner if isinstance(node, ast.stmt))


def _is_named(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a name matches as in pytest: by prefix, or by glob such as `*_it`."""
    return any(name.startswith(each) or fnmatch(name, each) for each in patterns)


def _not_ignored(files: Sequence[Path]) -> list[Path]:
    """Return the files that git does not ignore; all of them without git."""
    with suppress(GitError, InfrastructureError):
        if files:
            asked = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--")
            told = git(ROOT, *asked, *map(str, files)).split("\0")
            return [file for file in files if file.relative_to(ROOT).as_posix() in told]
    return [*files]


def refusal(files: Sequence[Path]) -> ConfigurationError:
    """Return the error for files that no tier runs; there is at least one."""
    lines = [
        f"{_shown(file)} belongs to no tier, so nothing runs its tests" for file in files[:SHOWN]
    ]
    more = len(files) - SHOWN
    return ConfigurationError(
        "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])]),
        "; ".join(dict.fromkeys(map(_hint, files))),
    )


def _hint(file: Path) -> str:
    top, *inner = _shown(file).split("/")
    kind = _KINDS.get(top) if len(inner) > 1 else None
    if kind is None:
        either = f"or, in a service or library, {_listed(Package.scopes)}"
        return f"move it to one of the folders {_listed(REPOSITORY)} {either}"
    home = f"{top}/{inner[0]}"
    if not (ROOT / home / "pyproject.toml").exists():
        guide = "the engine's docs/services.md"
        return f"give {home} a pyproject.toml, without which it is not a {kind.kind}: {guide}"
    return f"move it to one of the folders {_listed(kind.scopes, f'{home}/')}"


def _shown(file: Path) -> str:
    return (location.relative(file) or file).as_posix()


def _listed(scopes: Collection[Scope], home: str = "") -> str:
    run = [tier for tier in tiers.load() if tier.scope in scopes and not tier.module]
    paths = [path for tier in run for path in tier.paths]
    return ", ".join(dict.fromkeys(f"{home}{path}" for path in paths))


def _excluded(folder: Path, patterns: Sequence[str]) -> bool:
    unseen = folder.name == "__pycache__" or (folder / "pyvenv.cfg").exists()
    return unseen or _matches(folder, patterns)


@cache
def _setting(name: str) -> list[str]:
    """Return one of pytest's settings for collecting tests."""
    return _words(pytest_settings().get(name, DEFAULTS[name]))


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    """Return whether a path matches as in pytest: by its name, or as a whole for `a/b`."""
    return any(
        fnmatch(str(path), f"*{os.sep}{pattern}") if "/" in pattern else fnmatch(path.name, pattern)
        for pattern in patterns
    )


def _words(value: str | list[str]) -> list[str]:
    return value.split() if isinstance(value, str) else value
