"""Errors with a hint and an exit code: of the infrastructure, the configuration, or the code."""

import argparse
import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn

from . import streams


class Code(IntEnum):
    """Exit codes of tiers and tasks; of several, the highest wins."""

    PASSED = 0
    FAILED = 1
    INFRASTRUCTURE = 2
    CONFIGURATION = 3


INTERRUPTED = 130
"""Exit code of a run or an action that was interrupted: as of SIGINT's."""


class StrataError(Exception):
    """Base error: `message` says what is wrong and why, `hint` has the command that fixes it.

    Both are written for somebody who has never seen this project.
    """

    code = Code.FAILED
    status = "failed"

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.message = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.status}: {self.message}" + (f"\n  hint: {self.hint}" if self.hint else "")


class InfrastructureError(StrataError):
    """Something required is unreachable, does not start, or is not available."""

    code = Code.INFRASTRUCTURE
    status = "infrastructure"


_ROOM = "make room on the disk, or fix the folder that it names"
_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "ulimit -f unlimited",
    errno.EMFILE: "ulimit -n 4096",
    errno.EROFS: "make it writable: mount -o remount,rw; or, unless you are root, use another"
    " folder: XDG_CACHE_HOME=/a/folder/elsewhere",
    errno.EACCES: "check its permissions: ls -ld {file}",
    errno.EPERM: "check its owner: ls -ld {file}",
    errno.ENAMETOOLONG: "TMPDIR=/tmp",
}


def unusable(what: str, error: OSError) -> InfrastructureError:
    """Return the InfrastructureError for an OSError."""
    # shutil.copytree collects several errors, so only the text has their codes.
    code = next(
        (each for each in _HINTS if each == error.errno or os.strerror(each) in str(error)), 0
    )
    hint = _HINTS.get(code, "fix the cause; `uv run invoke doctor` checks more")
    return InfrastructureError(f"{what}: {error}", hint.format(file=error.filename or "it"))


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise any OSError of the block as an InfrastructureError."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) and streams.reader_ended():
            raise  # Nothing is wrong: the program ends quietly, see `streams.prepare`.
        raise unusable(what, error) from error


class AbsentError(InfrastructureError):
    """A tier, or a part of one, cannot run: the project lacks its tests, or the machine a tool.

    A test that raises it is skipped, and the results list `part` with the message as absent.
    """

    status = "absent"

    def __init__(self, what: str, hint: str = "", *, part: str = "") -> None:
        super().__init__(what, hint)
        self.part = part


class ConfigurationError(StrataError):
    """An unknown name, an invalid setting, or a missing or stale lock."""

    code = Code.CONFIGURATION
    status = "configuration"


class CommandLine(argparse.ArgumentParser):
    """Argument parser that raises ConfigurationError, since argparse's exit code 2 is taken."""

    def __init__(self, hint: str, **options: Any) -> None:
        super().__init__(**options)
        self.hint = hint

    def error(self, message: str) -> NoReturn:
        """Raise the message as a configuration error."""
        raise ConfigurationError(message, self.hint)


MISSPELT = 0.9
"""Similarity above which a name counts as a misspelling of another."""


SIMILAR = 0.7
"""Similarity above which a name is suggested: `db.seed` for `seed`, but not `setup` for `stop`."""


def did_you_mean(name: str, known: Iterable[str], rest: str = "", *, alike: float = SIMILAR) -> str:
    """Return `did you mean X?` for the one of `known` that is most like `name`, then `rest`."""
    # difflib alone is too slow: each run compares every environment variable.
    likely = [each for each in known if 2 * min(map(len, (each, name))) >= alike * len(each + name)]
    near = difflib.get_close_matches(name, likely, n=1, cutoff=alike) if likely else []
    return " ".join([*(f"did you mean {each}?" for each in near), *filter(None, [rest])])
