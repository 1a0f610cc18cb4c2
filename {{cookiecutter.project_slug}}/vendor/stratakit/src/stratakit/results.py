"""Exit codes 0/1/2/3 for plain `nox`, and reports/summary.json.

nox itself knows only 0 and 1. So every session writes what came of it into the folder of its run,
and the process that the user started reads them all when it exits, writes the summary, and leaves
with the worst code. Standard library only, since noxfile.py imports it.
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

from . import git, liveness, project, tiers
from .environment import plain
from .errors import Code, ConfigurationError, StrataError, did_you_mean, translated
from .pyproject import REPORTS, ROOT

SCHEMA = 1
"""Version of the summary's shape, which summary.schema.json describes."""

T = TypeVar("T")

OUTPUT = "--output"
"""What is asked after `--` for the summary, as JSON, and nothing else on standard output."""

STRICT = "--strict-budgets"
"""What is asked after `--` for tests and tiers to fail that take longer than they may."""

# nox starts each parallel session as a child with this flag. A nox that a session starts inherits
# our variable too, but not the flag: that one is a run of its own.
_PARALLEL_WORKER = "--parallel-worker"


@dataclass
class TierResult:
    """What came of one tier of one service (or of the repository, where `service` is None)."""

    name: str
    service: str | None
    folder: Path
    status: str = "interrupted"
    reason: str | None = None
    exit_code: int = Code.FAILED
    duration_seconds: float = 0.0
    setup_seconds: float = 0.0
    """Those in which its environment was made: no budget holds for them."""
    strict: bool = False
    """Whether it fails where it is over its budget."""
    seed: str | None = None
    """What the order of its tests depends on, and the values of their rows."""
    tests: list[dict[str, Any]] = field(default_factory=list)
    absent: list[dict[str, str]] = field(default_factory=list)
    load_test: dict[str, float | None] | None = None
    python: str | None = None
    """The Python that was asked for, in the place of the project's."""
    scratch: str | None = None
    """The temporary folder of its tests."""
    source: str | None = None
    """The state of the code when it began, where git can tell."""

    @property
    def title(self) -> str:
        """What nox calls it."""
        name = session_name(self.name, self.python)
        return f"{name}({self.service})" if self.service else name

    @property
    def over_budget(self) -> str | None:
        """What to say where it took longer than it may."""
        budget = tiers.named("session", self.name, tiers.sessions()).budget
        seconds = self.duration_seconds - self.setup_seconds
        if not budget or seconds <= budget:
            return None
        return f"it took {seconds:.0f} s, its budget is {budget:g} s"

    def file(self, name: str) -> Path:
        """Return where a report of this part goes."""
        return self.folder / name

    def set_result(
        self, code: Code, reason: str | None = None, *, status: str | None = None
    ) -> None:
        """Set what came of it; `status` where the code's own name does not tell."""
        self.exit_code, self.reason = code, reason
        self.status = status or code.name.lower()

    def save(self) -> None:
        """Write the part where the run will look for it."""
        record = {**asdict(self), "folder": str(self.folder)}
        write(self.file("part.json"), json.dumps(record))

    def forget(self) -> None:
        """Leave it out of the run."""
        self.file("part.json").unlink()

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read a part that another process has saved."""
        record = json.loads(file.read_text(encoding="utf-8"))
        return cls(**{**record, "folder": Path(record["folder"])})

    def clear(self) -> None:
        """Remove the temporary folder, if the process that made it was killed before it could."""
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)


def session_name(tier: str, python: str | None) -> str:
    """Return what nox calls the session of a tier, where it is asked for a Python."""
    return f"{tier}-{python}" if python else tier


def folder(tier: str, service: str | None, python: str | None) -> Path:
    """Return where a tier (of a service) leaves its reports, below the folder of all."""
    return Path(plain(session_name(tier, python)), service or "")


class Run:
    """One invocation of nox, however many processes it takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.interrupted = False
        self.failed_sessions: list[str] = []
        """Those of nox that failed, of tiers and of the project's own."""
        self.json_to: int | None = None
        """Descriptor of what was standard output, where the summary alone is to go there."""
        self._inner_seconds = 0.0

    @contextmanager
    def part(
        self, name: str, service: str | None = None, python: str | None = None
    ) -> Iterator[TierResult]:
        """Record what comes of a tier (of a service) in the block, whichever way it ends.

        An StrataError ends the block and no more: it is what came of it. Of parts inside of one
        another, each counts its own seconds.
        """
        where = self.folder / folder(name, service, python)
        part = TierResult(name, service, where, python=python, source=git.state(ROOT))
        # Saved at once as interrupted: that is what is left to read if this process is killed.
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
        """Write the summary, publish the reports, and exit with the contract's code."""
        parts = [TierResult.load(file) for file in self.folder.glob("**/part.json")]
        if not parts:
            # Nothing was run, but for example listed.
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
            code = 130
        for part in parts:
            part.clear()
            _publish(part, REPORTS / part.folder.relative_to(self.folder))
        # The page is made by what stands on this module.
        from . import report

        found = summary(parts, code)
        text = json.dumps(found, indent=2) + "\n"
        write(REPORTS / "summary.json", text)
        report.publish(found, meaning(parts, code), REPORTS)
        shutil.rmtree(self.folder, ignore_errors=True)
        _forget_dead_runs(self.folder.parent)
        for name in others:
            sys.stderr.write(f"{name}: failed, and is not a tier: see its output above\n")
        _print_summary(parts, code)
        if self.json_to is not None:
            with os.fdopen(self.json_to, "w", encoding="utf-8") as stream:
                stream.write(text)
        if code not in (0, 130):
            # atexit has no other way to change the code that nox chose.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def hear(self, record: logging.LogRecord) -> bool:
        """Take note of what nox says, as a filter of its messages.

        A session that failed counts, whatever it was; a refusal of one that is not there is told
        which ones there are.
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
            hints.append(f"There are {there}; all that there are: uv run nox -l")
            record.msg = f"{said}\n  hint: {' '.join(hints)}"
            record.args = ()
        return True


_FAILED = re.compile(r"\* (.+): (?:failed|aborted)(?:, took .*)?")
"""What nox says of a session that failed, once several have run."""
_UNKNOWN = re.compile(
    r"Sessions not found: (.+)|Session (.+) not found\.|.*no sessions (?:to be )?selected.*",
    re.IGNORECASE,
)
"""What nox says where it is asked for a session that is not there, or for none."""


@cache
def begin() -> Run:
    """Join the run that this process belongs to, or start one and answer for its exit code.

    Once: whoever asks again is given the same.
    """
    if _PARALLEL_WORKER in sys.argv and liveness.RUN in os.environ:
        liveness.join()
        return Run(Path(os.environ[liveness.RUN]))
    run = Run(REPORTS / ".runs" / f"{time.time_ns()}-{os.getpid()}")
    asked = sys.argv[sys.argv.index("--") :] if "--" in sys.argv else []
    if exit_on_error(lambda: split_output(asked)[1]):
        # Whatever nox, the sessions and their programs print goes to standard error from here on.
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
    """Return the words without `--output json`, and whether that was among them.

    Raises:
        ConfigurationError: another output is asked for than there is.
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
                f"{word} names no output that there is", f"uv run nox -s unit -- {OUTPUT} json"
            )
    return rest, found


def exit_on_error(read: Callable[[], T]) -> T:
    """Return what `read` returns; say what is wrong and exit with its code where it cannot.

    For noxfile.py, which nox imports: an exception there would come out as a traceback and 1.
    """
    try:
        return read()
    except StrataError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(int(error.code)) from None


def summary(parts: list[TierResult], code: int) -> dict[str, Any]:
    """Return the summary of `parts`, in the shape of summary.schema.json."""
    tests = [
        {**test, "tier": part.name, "service": part.service, "python": part.python}
        for part in parts
        for test in part.tests
    ]
    count = {
        status: sum(test["status"] == status for test in tests)
        for status in ("passed", "failed", "skipped")
    }
    # Where files changed while tests ran, these are the results of neither state.
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
    """Write `text` to `file` in one step, so that a reader never meets half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(file)


def _refuse_empty_tiers(parts: list[TierResult]) -> None:
    """Make a tier in which no service ran a single test an error: green would be a lie."""
    for name, python in {(part.name, part.python) for part in parts}:
        mine = [part for part in parts if (part.name, part.python) == (name, python)]
        if all(part.status == "empty" for part in mine):
            for part in mine:
                reason = f"no test of the tier {name} ran: {part.reason}"
                part.set_result(Code.INFRASTRUCTURE, reason, status="empty")


def _publish(part: TierResult, target: Path) -> None:
    """Put the part's reports where people and CI look for them, in the place of older ones."""
    part.file("part.json").unlink(missing_ok=True)
    with suppress(OSError):
        # Two runs may end at once: the loser's reports go, which is what overwriting means.
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.folder.replace(target)


def _forget_dead_runs(folder: Path) -> None:
    """Remove what runs that were killed have left, once none of their processes is there.

    Where that cannot be told, as of what older versions have left, after a day.
    """
    for left in folder.glob("*"):
        # Another run may have come to its end meanwhile, or an older version have written it.
        with suppress(FileNotFoundError, TypeError):
            ended = liveness.run_ended(left)
            old = left.stat().st_mtime < time.time() - 24 * 3600
            if ended or (ended is None and old):
                for part in left.glob("**/part.json"):
                    TierResult.load(part).clear()
                shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()


def _print_summary(parts: list[TierResult], code: int) -> None:
    """Print the reasons and one closing line."""
    for part in parts:
        for said in dict.fromkeys(filter(None, (part.reason, part.over_budget))):
            sys.stderr.write(f"{part.title}: {said}\n")
        for absent in part.absent:
            sys.stderr.write(f"{part.name}: ABSENT {absent['name']}: {absent['reason']}\n")
    reports = REPORTS.relative_to(ROOT)
    where = f"{reports}/summary.json and {reports}/index.html"
    sys.stderr.write(f"exit {code} ({meaning(parts, code)}), see {where}\n")


def meaning(parts: list[TierResult], code: int) -> str:
    """Return what the exit code of a run means."""
    empty = all(part.status == "empty" for part in parts if part.exit_code == code)
    return _NOTHING_RAN if code == Code.INFRASTRUCTURE and empty else _MEANING[code]


_NOTHING_RAN = "nothing ran: what was asked for selects no test"
_MEANING = {
    Code.PASSED: "passed",
    Code.FAILED: "failures",
    Code.INFRASTRUCTURE: "infrastructure: something needed is missing",
    Code.CONFIGURATION: "configuration: a name, a setting or the lock is wrong",
    130: "interrupted",
}
