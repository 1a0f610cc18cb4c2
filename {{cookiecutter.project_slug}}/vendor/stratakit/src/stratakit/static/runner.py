"""Asking a check's tool its question, and what came of it."""

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .. import environment, limits, programs
from ..errors import Code, InfrastructureError
from ..pyproject import ROOT
from . import files
from .checks import Check

COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

_ESCAPES = re.compile(r"\x1b(\[[0-9;]*[a-zA-Z]|\([A-Z0-9])")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check: a code and what was found, or the reason why it was not made."""

    check: Check
    code: Code = Code.PASSED
    found: str = ""
    hint: str = ""
    absent: str = ""
    seconds: float = 0.0


def outcomes(
    checks: Sequence[Check], present: Sequence[str], chosen: Sequence[str], *, fix: bool
) -> Iterator[Outcome]:
    """Make `checks` side by side and yield what came of each, in their order.

    `present` are the project's files, `chosen` those of them to look at. With `fix`, those that
    can fix do so, one after another and before any other reads the files.
    """
    fixed = {
        check.name: ask(check, check.fix, present, chosen) for check in checks if fix and check.fix
    }
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        asked = {
            check.name: pool.submit(ask, check, check.command, present, chosen)
            for check in checks
            if check.name not in fixed
        }
        for check in checks:
            yield fixed.get(check.name) or asked[check.name].result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def ask(
    check: Check, command: Sequence[str], present: Sequence[str], chosen: Sequence[str]
) -> Outcome:
    """Run `command` for each package or at once, and return what came of it."""
    if not check.of(chosen):
        return Outcome(check, absent=f"there is no {' or '.join(check.about)}")
    if check.needs and not (ROOT / check.needs).is_file():
        return Outcome(check, absent=f"there is no {check.needs}: {check.absent}")
    try:
        program = find(command[0])
    except InfrastructureError as error:
        if check.absent:
            return Outcome(check, absent=check.absent)
        return Outcome(check, error.code, error.message, error.hint)
    start = time.monotonic()
    runs = [
        answer(check, [program, *expand(command[1:], package, paths)], package)
        for package, paths in rounds(check, present, chosen)
    ]
    worst = max(runs, key=lambda run: run.code)
    found = "\n".join(run.found for run in runs if run.found)
    return Outcome(check, worst.code, found, worst.hint, seconds=time.monotonic() - start)


def find(tool: str) -> str:
    """Return the path of a program: beside this interpreter, else on PATH.

    Raises:
        InfrastructureError: there is none.
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


def rounds(
    check: Check, present: Sequence[str], chosen: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield the package and the files of each run of the check's command."""
    if not check.per_package:
        yield ".", check.of(chosen)
        return
    folders = files.packages(present)
    touched = {files.package_of(path, folders) for path in check.of(chosen)}
    for package in sorted(touched):
        yield (
            package,
            [path for path in check.of(present) if files.package_of(path, folders) == package],
        )


def expand(words: Sequence[str], package: str, paths: Sequence[str]) -> Iterator[str]:
    """Yield `words` with the placeholders replaced."""
    for word in words:
        if word == "{files}":
            yield from paths
        else:
            yield word.replace("{package}", package)


def answer(check: Check, command: Sequence[str], package: str) -> Outcome:
    """Run one command and return what came of it."""
    env = {name: value.replace("{package}", package) for name, value in check.env.items()}
    colour = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"} if COLOUR else {}
    try:
        environ = {**os.environ, **colour, **env}
        done = programs.run(command, limits.TOOL, cwd=ROOT, env=environ, together=True)
    except InfrastructureError as error:
        return Outcome(check, error.code, error.message, error.hint)
    except OSError as error:
        return Outcome(
            check, Code.INFRASTRUCTURE, f"{command[0]} does not start: {error}", check.hint
        )
    found = done.stdout.strip()
    if done.returncode == 0:
        return Outcome(check)
    if check.explain:
        wrong = check.explain(plain(found))
        return Outcome(check, wrong.code, wrong.message, wrong.hint)
    if done.returncode == check.usage_exit_code:
        return Outcome(
            check, Code.CONFIGURATION, found, f"correct the settings of {check.command[0]}"
        )
    return Outcome(check, Code.FAILED, found or f"it exited with {done.returncode}", check.hint)


def plain(text: str) -> str:
    """Return `text` without the colours of a terminal."""
    return _ESCAPES.sub("", text)
