"""A baked project that lives: locked, its environments made, its tiers run for real."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from baking import Bake

NOX = ("nox", "--non-interactive")
PATIENCE = 120
"""Seconds that a condition may take on a machine that is busy with other tests."""

COMPLETE = """
eval "$(invoke completion --shell bash)"
for COMP_LINE; do
    COMP_WORDS=($COMP_LINE) COMP_POINT=${#COMP_LINE} COMP_TYPE=9
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    how=$(complete -p "${COMP_WORDS[0]}")
    how=${how#*-F }
    ${how%% *} "${COMP_WORDS[0]}" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}" 2> /dev/null
    echo "${COMPREPLY[@]}"
done
"""
"""What bash itself does at a Tab, and then prints what it would offer."""


@dataclass(frozen=True)
class Outcome:
    """What a run of nox or invoke came to."""

    code: int
    output: str
    summary: dict[str, Any]


class Project(Bake):
    """A project that tests run tiers of."""

    def nox(self, *arguments: str, env: Mapping[str, str] | None = None) -> Outcome:
        """Run nox as a person would, and return what came of it."""
        return self.outcome(*NOX, *arguments, env=env)

    def outcome(self, *command: str, env: Mapping[str, str] | None = None) -> Outcome:
        """Run any command, and return what came of it and the summary that it left."""
        (self.path / "reports" / "summary.json").unlink(missing_ok=True)
        done = self.run(*command, env=env, check=False)
        return Outcome(done.returncode, done.stdout + done.stderr, self.summary())

    def completed(self, *lines: str) -> list[str]:
        """Return what bash offers at a Tab, for each line that is begun."""
        # As in a shell where the environment is active.
        path = f"{self.path / '.venv' / 'bin'}:{self.environment['PATH']}"
        done = self.run("bash", "--norc", "-c", COMPLETE, "-", *lines, env={"PATH": path})
        return done.stdout.splitlines()

    def summary(self) -> dict[str, Any]:
        """Return the summary of the last run, empty where it left none."""
        file = self.path / "reports" / "summary.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def interrupted(self, *arguments: str, env: Mapping[str, str], when: Path) -> Outcome:
        """Run nox in a group of its own, and press Ctrl-C as soon as the file `when` is there."""
        with subprocess.Popen(
            [*NOX, *arguments],
            cwd=self.path,
            env={**self.environment, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as running:
            until(when.exists)
            os.killpg(running.pid, signal.SIGINT)
            output, _ = running.communicate(timeout=PATIENCE)
        return Outcome(running.returncode, output, self.summary())


class Changes(AbstractContextManager["Changes"]):
    """Changes to a project that are taken back at the end of the block."""

    def __init__(self, project: Project) -> None:
        """Change files of `project`."""
        self.path = project.path
        self._undo = ExitStack()

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        file = self.path / name
        before = file.read_bytes() if file.exists() else None
        for made in [folder for folder in file.parents if not folder.exists()][-1:]:
            # A folder that stays behind is one that may hold a tier's tests.
            self._undo.callback(shutil.rmtree, made, ignore_errors=True)
        self._undo.callback(_restore, file, before)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a piece of a file, which has to be there."""
        text = (self.path / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new))

    def hide(self, name: str) -> Path:
        """Take a file or folder away, with whatever then comes in its place; return where it is."""
        there = self.path / name
        # Not in the project, where what looks at all of its files would find it.
        aside = self.path.with_name(f"{self.path.name}.{there.name}.aside")
        if there.exists():
            there.rename(aside)
            self._undo.callback(aside.rename, there)
        self._undo.callback(_remove, there)
        return aside

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the changes back."""
        self._undo.close()


Change = Callable[[Changes], object]
"""Something to do to a project, which is taken back."""


def write(name: str, text: str) -> Change:
    """Return a change that writes a file."""
    return lambda changes: changes.write(name, text)


def replace(name: str, old: str, new: str) -> Change:
    """Return a change that replaces a piece of a file."""
    return lambda changes: changes.replace(name, old, new)


def hide(name: str) -> Change:
    """Return a change that takes a file or folder away."""
    return lambda changes: changes.hide(name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _restore(file: Path, before: bytes | None) -> None:
    if before is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(before)


def has_images(*more: str) -> bool:
    """Say whether Docker could be used, with images beside those of the servers."""
    if not shutil.which("docker"):
        return False
    command = ["docker", "image", "inspect", "postgres:17-alpine", "redis:8-alpine", *more]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def processes() -> list[str]:
    """Return the command line of each process that there is."""
    return [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.02)  # Between two looks: other processes have no way to tell us.
