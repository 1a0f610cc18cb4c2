"""Exit codes 0/1/2/3 for plain `nox`, and reports/summary.json.

nox itself knows only 0 and 1. So every session writes its result to the folder of its run, and the
process that the user started reads all results at exit, writes the summary, and exits with the
worst code. Standard library only, since noxfile.py imports it.
"""

import atexit
import json
import logging
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Self, TypeVar

from . import git, liveness, project, streams, tiers
from .environment import plain
from .errors import INTERRUPTED, Code, ConfigurationError, StrataError, did_you_mean, translated
from .pyproject import REPORTS, ROOT

SCHEMA = 1
"""Version of the summary's schema, summary.schema.json."""

T = TypeVar("T")

OUTPUT = "--output"
"""Option after `--` to print only the summary, as JSON, to standard output."""

STRICT = "--strict-budgets"
"""Option after `--` to fail tests and tiers that exceed their budgets."""

# nox starts each parallel session as a child with this flag. A nox that a session itself starts
# inherits our variable too, but not the flag: it is a separate run.
_PARALLEL_WORKER = "--parallel-worker"


@dataclass
class TierResult:
    """Result of one tier of one service (or of the repository if `service` is None)."""

    name: str
    service: str | None
    folder: Path
    status: str = "interrupted"
    reason: str | None = None
    exit_code: int = Code.FAILED
    duration_seconds: float = 0.0
    setup_seconds: float = 0.0
    """Seconds spent on its environment, which do not count towards its budget."""
    strict: bool = False
    """Whether it fails if it is over its budget."""
    seed: str | None = None
    """Seed of the order of its tests and of generated rows."""
    tests: list[dict[str, Any]] = field(default_factory=list)
    absent: list[dict[str, str]] = field(default_factory=list)
    load_test: dict[str, float | None] | None = None
    python: str | None = None
    """Requested Python, if it is not the project's."""
    scratch: str | None = None
    """Path of its tests' temporary folder."""
    source: str | None = None
    """State of the code at its start, if git can tell."""

    @property
    def title(self) -> str:
        """Name of its nox session."""
        name = session_name(self.name, self.python)
        return f"{name}({self.service})" if self.service else name

    @property
    def over_budget(self) -> str | None:
        """Message if it took longer than its budget; None if it did not."""
        budget = tiers.named("session", self.name, tiers.sessions()).budget
        seconds = self.duration_seconds - self.setup_seconds
        if not budget or seconds <= budget:
            return None
        return f"it took {seconds:.0f} s, its budget is {budget:g} s"

    def file(self, name: str) -> Path:
        """Return the path of a report of this part."""
        return self.folder / name

    def set_result(
        self, code: Code, reason: str | None = None, *, status: str | None = None
    ) -> None:
        """Set the result; the default `status` is the name of the code."""
        self.exit_code, self.reason = code, reason
        self.status = status or code.name.lower()

    def save(self) -> None:
        """Write the part to the folder of the run."""
        record = {**asdict(self), "folder": str(self.folder)}
        write(self.file("part.json"), json.dumps(record))

    def forget(self) -> None:
        """Remove the part from the run."""
        self.file("part.json").unlink()

    @classmethod
    def load(cls, file: Path) -> Self:
        """Return a part that another process has saved."""
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        record["folder"] = Path(record["folder"])
        return cls(**record)

    def clear(self) -> None:
        """Remove the temporary folder if the process that created it was killed."""
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)


def session_name(tier: str, python: str | None) -> str:
    """Return the name of a tier's nox session, for a requested Python or the default."""
    return f"{tier}-{python}" if python else tier


def folder(tier: str, service: str | None, python: str | None) -> Path:
    """Return the path of the reports of a tier (of a service), relative to all reports."""
    return Path(plain(session_name(tier, python)), service or "")


class Run:
    """Invocation of nox, which may have several processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.interrupted = False
        self.failed_sessions: list[str] = []
        """Names of failed nox sessions, of tiers and of the project's own."""
        self.json_to: int | None = None
        """Descriptor of the original standard output if only the summary goes there."""
        self._inner_seconds = 0.0

    @contextmanager
    def part(
        self, name: str, service: str | None = None, python: str | None = None
    ) -> Iterator[TierResult]:
        """Record the result of a tier (of a service) in the block, however the block ends.

        A StrataError becomes the result and is not raised again. Seconds of nested parts are not
        counted in the outer one.
        """
        where = self.folder / folder(name, service, python)
        part = TierResult(name, service, where, python=python, source=git.state(ROOT))
        # Saved as interrupted first, in case this process is killed.
        exit_on_error(translated("the reports of a run cannot be written")(part.save))
        start = time.monotonic()
        before, self._inner_seconds = self._inner_seconds, 0.0
        try:
            yield part
        except StrataError as error:
            part.set_result(error.code, str(error), status=error.status)
        except Exception as error:
            part.set_result(Code.FAILED, f"{type(error).__name__}: {error}")
            raise
        finally:
            took = time.monotonic() - start
            part.duration_seconds = took - self._inner_seconds
            self._inner_seconds = before + took
            if part.strict and part.exit_code == Code.PASSED and part.over_budget:
                part.set_result(Code.FAILED, part.over_budget)
            part.save()

    def finish(self) -> None:
        """Write the summary, publish the reports, and exit with the worst code."""
        parts = [TierResult.load(file) for file in self.folder.glob("**/part.json")]
        if not parts:
            # No tier was run: sessions were only listed, for example.
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()
                REPORTS.rmdir()
            return
        names = [each.name for each in tiers.sessions()]
        parts.sort(key=lambda part: (names.index(part.name), part.service or "", part.python or ""))
        _refuse_empty_tiers(parts)
        titles = {part.title for part in parts}
        others = [name for name in self.failed_sessions if name not in titles]
        code = max([part.exit_code for part in parts] + [Code.FAILED for _ in others])
        if self.interrupted:
            code = INTERRUPTED
        for part in parts:
            part.clear()
            _publish(part, REPORTS / part.folder.relative_to(self.folder))
        # Imported here, since `report` imports this module.
        from . import report

        found = summary(parts, code)
        text = json.dumps(found, indent=2) + "\n"
        write(REPORTS / "summary.json", text)
        report.publish(found, meaning(parts, code), REPORTS)
        shutil.rmtree(self.folder, ignore_errors=True)
        _forget_dead_runs(self.folder.parent)
        # Their readers may have ended, such as `head`, which does not change the exit code.
        with suppress(BrokenPipeError):
            _print_summary(parts, others, code)
        if self.json_to is not None:
            with (
                suppress(BrokenPipeError),
                os.fdopen(self.json_to, "w", encoding="utf-8") as stream,
            ):
                stream.write(text)
        streams.flush()
        if code:
            # There is no other way to change the exit code in an atexit handler. Also if it was
            # interrupted: nox passes if its sessions have passed nevertheless.
            os._exit(code)

    def hear(self, record: logging.LogRecord) -> bool:
        """Record failed sessions from nox's log, as a logging filter.

        Any failed session counts. Messages about unknown sessions get a hint with the known ones.
        """
        said = record.getMessage()
        if failed := _FAILED.fullmatch(said):
            self.failed_sessions.append(failed[1])
        elif unknown := _UNKNOWN.fullmatch(said):
            sessions = tiers.sessions()
            names = [each.name for each in sessions]
            there = ", ".join(names)
            for each in sessions:
                names += [f"{each.name}({of.name})" for of in project.packages_of(each)]
            wrong = (unknown[1] or unknown[2] or "").split(", ")
            hints = [*filter(None, (did_you_mean(name, names) for name in wrong))]
            hints.append(f"There are {there}; list all: uv run nox -l")
            record.msg = f"{said}\n  hint: {' '.join(hints)}"
            record.args = ()
        return True


_FAILED = re.compile(r"\* (.+): (?:failed|aborted)(?:, took .*)?")
"""nox's message about a failed session, once several have run."""
_UNKNOWN = re.compile(
    r"Sessions not found: (.+)|Session (.+) not found\.|.*no sessions (?:to be )?selected.*",
    re.IGNORECASE,
)
"""nox's messages about unknown sessions, or none selected."""


@cache
def begin() -> Run:
    """Join the run that this process belongs to, or start one and set its exit code.

    Cached: later calls return the same run.
    """
    if _PARALLEL_WORKER in sys.argv and liveness.RUN in os.environ:
        liveness.join()
        return Run(Path(os.environ[liveness.RUN]))
    run = Run(REPORTS / ".runs" / f"{time.time_ns()}-{os.getpid()}")
    asked = sys.argv[sys.argv.index("--") :] if "--" in sys.argv else []
    if exit_on_error(lambda: split_output(asked)[1]):
        # From here on, the output of nox, the sessions and their programs goes to standard error.
        sys.stdout.flush()
        run.json_to = os.dup(1)
        os.dup2(2, 1)
    logging.getLogger("nox").addFilter(run.hear)
    os.environ[liveness.RUN] = str(run.folder)
    liveness.begin(run.folder)
    atexit.register(run.finish)
    previous = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        run.interrupted = True
        if callable(previous):
            previous(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    return run


def split_output(words: Sequence[str]) -> tuple[list[str], bool]:
    """Return the arguments without `--output json`, and whether it was among them.

    Raises:
        ConfigurationError: the output format is unknown.
    """
    rest: list[str] = []
    found = False
    given = iter(words)
    for word in given:
        name, _, value = word.partition("=")
        if name != OUTPUT:
            rest.append(word)
        elif (value or next(given, "")) == "json":
            found = True
        else:
            raise ConfigurationError(
                f"{word}: the only output format is json", f"uv run nox -s unit -- {OUTPUT} json"
            )
    return rest, found


def exit_on_error(read: Callable[[], T]) -> T:
    """Return the result of `read`; on a StrataError, print it and exit with its code.

    For noxfile.py, which nox imports: an exception there would be a traceback and exit code 1.
    """
    try:
        return read()
    except StrataError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(int(error.code)) from None


def summary(parts: list[TierResult], code: int) -> dict[str, Any]:
    """Return the summary of `parts`, as described by summary.schema.json."""
    tests = [
        {**test, "tier": part.name, "service": part.service, "python": part.python}
        for part in parts
        for test in part.tests
    ]
    count = {
        status: sum(test["status"] == status for test in tests)
        for status in ("passed", "failed", "skipped")
    }
    # If files changed during the run, the results belong to neither state.
    sources = {git.state(ROOT), *(part.source for part in parts)}
    return {
        "schema": SCHEMA,
        "exit_code": code,
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": sources.pop() if len(sources) == 1 else None,
        "summary": {
            "total": len(tests),
            **count,
            "duration_seconds": round(sum(part.duration_seconds for part in parts), 3),
        },
        "tiers": [
            {
                "name": part.name,
                "service": part.service,
                "python": part.python,
                "status": part.status,
                "reason": part.reason,
                "exit_code": int(part.exit_code),
                "duration_seconds": round(part.duration_seconds, 3),
                "seed": part.seed,
                "absent": part.absent,
            }
            for part in parts
        ],
        "tests": tests,
        "load_test": next((part.load_test for part in parts if part.load_test), None),
    }


def write(file: Path, text: str) -> None:
    """Write `text` to `file` atomically, so that readers never see a partial file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(file)
    except OSError:
        # The disk is full: leave it no fuller.
        scratch.unlink(missing_ok=True)
        raise


def read(file: Path, **required: type) -> dict[str, Any]:
    """Return the JSON object in a file of ours; empty if the file is missing or damaged.

    Writing is atomic, but after a power failure a file may still be empty or filled with zeros.

    Args:
        file: the file.
        required: the keys that it must have, with the types of their values.
    """
    try:
        found = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    whole = isinstance(found, dict) and all(
        isinstance(found.get(key), each) for key, each in required.items()
    )
    return found if whole else {}


def _refuse_empty_tiers(parts: list[TierResult]) -> None:
    """Set an error for each tier in which no service ran a test: a pass would be misleading."""
    for name, python in {(part.name, part.python) for part in parts}:
        mine = [part for part in parts if (part.name, part.python) == (name, python)]
        if all(part.status == "empty" for part in mine):
            for part in mine:
                reason = f"no test of the tier {name} ran: {part.reason}"
                part.set_result(Code.INFRASTRUCTURE, reason, status="empty")


def _publish(part: TierResult, target: Path) -> None:
    """Move the part's reports to the folder for people and CI; replace older ones."""
    part.file("part.json").unlink(missing_ok=True)
    with suppress(OSError):
        # Two runs may end at once: the last one wins.
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.folder.replace(target)


def _forget_dead_runs(folder: Path) -> None:
    """Remove leftovers of killed runs, once all of their processes have ended.

    If that is unknown, as for leftovers of older versions, remove them after a day.
    """
    for left in folder.glob("*"):
        # Another run may have finished meanwhile, or an older version may have written the file.
        with suppress(FileNotFoundError, TypeError):
            ended = liveness.run_ended(left)
            old = left.stat().st_mtime < time.time() - 24 * 3600
            if ended or (ended is None and old):
                for part in left.glob("**/part.json"):
                    TierResult.load(part).clear()
                shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()


def _print_summary(parts: list[TierResult], others: list[str], code: int) -> None:
    """Print the reasons, the `others` that failed, and a closing line."""
    for name in others:
        sys.stderr.write(f"{name}: failed, and is not a tier: see its output above\n")
    for part in parts:
        for said in dict.fromkeys(filter(None, (part.reason, part.over_budget))):
            sys.stderr.write(f"{part.title}: {said}\n")
        for absent in part.absent:
            sys.stderr.write(f"{part.name}: ABSENT {absent['name']}: {absent['reason']}\n")
    reports = REPORTS.relative_to(ROOT)
    where = f"{reports}/summary.json and {reports}/index.html"
    sys.stderr.write(f"exit {code} ({meaning(parts, code)}), see {where}\n")


def meaning(parts: list[TierResult], code: int) -> str:
    """Return the meaning of a run's exit code."""
    empty = all(part.status == "empty" for part in parts if part.exit_code == code)
    return _NOTHING_RAN if code == Code.INFRASTRUCTURE and empty else _MEANING[code]


_NOTHING_RAN = "nothing ran: what was asked for selects no test"
_MEANING = {
    Code.PASSED: "passed",
    Code.FAILED: "failures",
    Code.INFRASTRUCTURE: "infrastructure: something needed is missing",
    Code.CONFIGURATION: "configuration: a name, a setting or the lock is wrong",
    INTERRUPTED: "interrupted",
}
