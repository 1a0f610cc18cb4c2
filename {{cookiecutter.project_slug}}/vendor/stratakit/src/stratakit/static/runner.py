"""Runner of the static checks: starts their tools on the project's files, and returns outcomes."""

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from .. import environment, infra, limits, programs, results, streams
from ..errors import Code, InfrastructureError
from ..git import GitError, git
from ..pyproject import ROOT
from .checks import Check, is_vendored

BATCH = 24_000 if sys.platform == "win32" else 100_000
"""Bytes of paths on one command line; the limit is 32,767 on Windows and a million on macOS."""

BY_HAND = "correct by hand what it names; the rest is fixed"

_ESCAPES = re.compile(r"\x1b(\[[0-9;]*[a-zA-Z]|\([A-Z0-9])")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a check: exit code and findings, or the reason why it is absent."""

    check: Check
    code: Code = Code.PASSED
    found: str = ""
    hint: str = ""
    absent: str = ""
    seconds: float = 0.0
    unchanged: bool = False
    """Whether it was skipped, since it has passed on the same files."""


def outcomes(
    checks: Sequence[Check], present: Sequence[str], chosen: Sequence[str], *, fix: bool
) -> Iterator[Outcome]:
    """Run `checks` in parallel and yield the outcome of each, in order.

    `present` are the project's files, `chosen` the ones to check. With `fix`, checks that can fix
    files run first, one after another, before any other check reads them.
    """
    fixing = [check for check in checks if fix and check.fix]
    fixed = {check.name: _fixed(check, present, chosen) for check in fixing}
    # What a later check has fixed may have been a finding of an earlier one.
    again = [check for check in fixing if fixed[check.name].code == Code.FAILED]
    fixed |= {check.name: _fixed(check, present, chosen) for check in again}
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        started = {
            check.name: pool.submit(_make, check, check.command, present, chosen)
            for check in checks
            if check.name not in fixed
        }
        for check in checks:
            yield fixed.get(check.name) or started[check.name].result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def project_files() -> list[str]:
    """Return the files that git would commit, as paths relative to the project.

    Without git, or in a repository that ignores the whole project, .gitignore alone decides.
    """
    files: set[str] = set()
    with suppress(GitError, InfrastructureError):
        listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        files.update(listed.split("\0"))
    if "pyproject.toml" not in files:
        files = set(_walk())
    return sorted(file for file in files if file and (ROOT / file).is_file())


def plain(text: str) -> str:
    """Return `text` without terminal colours."""
    return _ESCAPES.sub("", text)


def _untracked() -> set[str]:
    """Return the files that git neither has nor ignores; none without git."""
    with suppress(GitError, InfrastructureError):
        return set(git(ROOT, "ls-files", "-z", "--others", "--exclude-standard").split("\0"))
    return set()


def _walk() -> Iterator[str]:
    """Yield the files that no plain name or glob in .gitignore matches."""
    file = ROOT / ".gitignore"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    globs = [".git", *(line.strip("/") for line in lines if line and not line.startswith("#"))]

    def kept(name: str) -> bool:
        return not any(fnmatchcase(name, glob) for glob in globs)

    for folder, folders, names in os.walk(ROOT):
        folders[:] = filter(kept, folders)
        for name in filter(kept, names):
            yield (Path(folder) / name).relative_to(ROOT).as_posix()


def _fixed(check: Check, present: Sequence[str], chosen: Sequence[str]) -> Outcome:
    """Return the outcome of a check after its fixes; for what is left there is no such command."""
    outcome = _make(check, check.fix, present, chosen)
    return replace(outcome, hint=BY_HAND) if outcome.code == Code.FAILED else outcome


def _make(
    check: Check, command: Sequence[str], present: Sequence[str], chosen: Sequence[str]
) -> Outcome:
    """Return the outcome of a check; run `command` unless it is absent or known to pass."""
    files = check.select(chosen if check.command else present)
    if files and check.whole:
        # What is in no commit yet, and was not given, may be unfinished.
        unfinished = set() if chosen is present else _untracked() - set(chosen)
        files = [file for file in check.select(present) if file not in unfinished]
    if not check.command:
        return (
            Outcome(check, Code.FAILED, "\n".join(files), check.hint) if files else Outcome(check)
        )
    if not files:
        return Outcome(check, absent=f"there is no {' or '.join(check.files)}")
    if check.needs and not (ROOT / check.needs).is_file():
        return Outcome(check, absent=f"there is no {check.needs}: {check.absent}")
    try:
        program = _find(command[0])
    except InfrastructureError as error:
        return Outcome(check, error.code, error.message, error.hint)
    stamp = environment.PASSED / check.name
    digest = _digest(check, present) if check.kept and command == check.command else ""
    if digest and stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return Outcome(check, unchanged=True)
    outcome = _run_on_packages(check, [program, *command[1:]], present, files)
    if digest and not outcome.code and not outcome.absent:
        results.write(stamp, digest)
    return outcome


def _run_on_packages(
    check: Check, command: Sequence[str], present: Sequence[str], files: Sequence[str]
) -> Outcome:
    """Run a command once, or once per package, and return the worst outcome."""
    start = time.monotonic()
    runs = []
    for package, paths in _packages(check, present, files) if check.per_package else [(".", files)]:
        words = [word.replace("{package}", package) for word in command]
        if "{files}" not in words:
            runs.append(_run(check, words))
            continue
        place = words.index("{files}")
        runs += [
            _run(check, [*words[:place], *batch, *words[place + 1 :]]) for batch in _batches(paths)
        ]
    worst = max(runs, key=lambda run: run.code)
    found = "\n".join(run.found for run in runs if run.found)
    return replace(worst, found=found, seconds=time.monotonic() - start)


def _batches(paths: Sequence[str]) -> Iterator[list[str]]:
    """Yield paths in batches that fit on a command line; none looks like an option."""
    batch: list[str] = []
    size = 0
    for path in (f"./{path}" if path.startswith("-") else path for path in paths):
        size += len(os.fsencode(path)) + 1
        if batch and size > BATCH:
            yield batch
            batch, size = [], len(os.fsencode(path)) + 1
        batch.append(path)
    yield batch


def _digest(check: Check, present: Sequence[str]) -> str:
    """Return a digest of all files that a check reads, and of the code that makes it."""
    digest = hashlib.sha256(repr(check.command).encode())
    named = {name: ROOT / name for name in check.select(present)}
    named |= {file.name: file for file in sorted(Path(infra.__file__).parent.glob("*.py"))}
    for name, file in named.items():
        digest.update(f"{name}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _find(tool: str) -> str:
    """Return the path of a program: next to this interpreter, else on PATH.

    Raises:
        InfrastructureError: it was not found.
    """
    if tool == "uv":
        return environment.uv()
    beside = shutil.which(tool, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(tool)
    if not found:
        raise InfrastructureError(
            f"{tool} is not in the environment that {sys.executable} belongs to",
            "uv sync --all-packages --all-groups",
        )
    return found


def _packages(
    check: Check, present: Sequence[str], files: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield the packages that contain `files`, each with all its files for the check."""
    manifests = (Path(file) for file in present if not is_vendored(file))
    folders = [file.parent for file in manifests if file.name == "pyproject.toml"]
    # Deepest first, the project itself last: a file belongs to the first folder that contains it.
    folders.sort(key=lambda folder: (-len(folder.parts), folder))

    def package(file: str) -> str:
        return next(each for each in folders if Path(file).is_relative_to(each)).as_posix()

    for touched in sorted(set(map(package, files))):
        yield touched, [file for file in check.select(present) if package(file) == touched]


def _run(check: Check, command: Sequence[str]) -> Outcome:
    """Run one command and return its outcome."""
    colour = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"} if streams.is_coloured() else {}
    try:
        env = {**os.environ, **colour}
        done = programs.run(command, limits.TOOL, cwd=ROOT, env=env, together=True)
    except InfrastructureError as error:
        return Outcome(check, error.code, error.message, error.hint)
    except OSError as error:
        return Outcome(
            check, Code.INFRASTRUCTURE, f"{command[0]} does not start: {error}", check.hint
        )
    found = done.stdout
    if check.advice:
        found = found.partition(check.advice)[0]
    return _outcome(check, done.returncode, found.strip())


def _outcome(check: Check, exit_code: int, found: str) -> Outcome:
    """Return the outcome for the exit code and output of a check's command."""
    misused = any(message in found for message in check.usage_messages)
    if exit_code == 0 and not misused:
        return Outcome(check)
    if exit_code < 0:
        said = f"{found}\n{check.command[0]} was killed by signal {-exit_code}".lstrip()
        again = f"uv run nox -s static -- --only {check.name}"
        return Outcome(check, Code.INFRASTRUCTURE, said, again)
    if exit_code == check.absent_exit_code:
        return Outcome(check, absent=found)
    if check.explain:
        wrong = check.explain(plain(found))
        return Outcome(check, wrong.code, wrong.message, wrong.hint)
    if misused or exit_code == check.usage_exit_code:
        return Outcome(
            check, Code.CONFIGURATION, found, f"correct the settings of {check.command[0]}"
        )
    return Outcome(check, Code.FAILED, found or f"it exited with {exit_code}", check.hint)
