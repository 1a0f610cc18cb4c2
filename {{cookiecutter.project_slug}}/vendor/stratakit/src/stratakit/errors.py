"""The two ways in which something other than the code under test can be at fault."""

import argparse
import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn


class Code(IntEnum):
    """The exit code of every tier and every task; of several, the highest wins."""

    PASSED = 0
    FAILED = 1
    INFRASTRUCTURE = 2
    CONFIGURATION = 3


class StrataError(Exception):
    """What is wrong, why, and the command that fixes it.

    `message` and `hint` are sentences for somebody who has never seen this project.
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
    """Something needed is not reachable, does not start, or cannot be had."""

    code = Code.INFRASTRUCTURE
    status = "infrastructure"


_ROOM = "make room on the disk, or fix the folder that it names"
_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "ulimit -f unlimited",
    errno.EMFILE: "ulimit -n 4096",
    errno.EROFS: "let it be written to: mount -o remount,rw; or, unless you are root, use another"
    " folder: XDG_CACHE_HOME=/a/folder/elsewhere",
    errno.EACCES: "look who may use it: ls -ld {file}",
    errno.EPERM: "look whose it is: ls -ld {file}",
    errno.ENAMETOOLONG: "TMPDIR=/tmp",
}


def unusable(what: str, error: OSError) -> InfrastructureError:
    """Return what it means that the operating system refuses something that we need."""
    # Of several at once, as of a copy of a folder, only the text tells.
    code = next(
        (each for each in _HINTS if each == error.errno or os.strerror(each) in str(error)), 0
    )
    hint = _HINTS.get(code, "fix what it names; `uv run invoke doctor` looks at more")
    return InfrastructureError(f"{what}: {error}", hint.format(file=error.filename or "it"))


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise what the operating system refuses during the block as an InfrastructureError."""
    try:
        yield
    except OSError as error:
        raise unusable(what, error) from error


class AbsentError(InfrastructureError):
    """A tier, or a part of one, is not here: its tests are not in the project, or a tool is not.

    A test that raises it is skipped, and the results list `part` with the message as absent.
    """

    status = "absent"

    def __init__(self, what: str, hint: str = "", *, part: str = "") -> None:
        super().__init__(what, hint)
        self.part = part


class ConfigurationError(StrataError):
    """An unknown name, a bad setting, a missing or stale lock."""

    code = Code.CONFIGURATION
    status = "configuration"


class CommandLine(argparse.ArgumentParser):
    """A parser whose errors are ours: argparse exits with 2, which means something else here."""

    def __init__(self, hint: str, **options: Any) -> None:
        super().__init__(**options)
        self.hint = hint

    def error(self, message: str) -> NoReturn:
        """Raise the message as a configuration error."""
        raise ConfigurationError(message, self.hint)


MISSPELT = 0.9
"""How alike two names are of which one is taken for a misspelling of the other."""


SIMILAR = 0.7
"""How alike a name is to one that is suggested: `seed` to `db.seed`, but not `stop` to `setup`."""


def did_you_mean(name: str, known: Iterable[str], rest: str = "", *, alike: float = SIMILAR) -> str:
    """Return `did you mean X?` for the one of `known` that is most like `name`, then `rest`."""
    # As difflib would find as well, only that each run asks it about the whole environment.
    likely = [each for each in known if 2 * min(map(len, (each, name))) >= alike * len(each + name)]
    near = difflib.get_close_matches(name, likely, n=1, cutoff=alike) if likely else []
    return " ".join([*(f"did you mean {each}?" for each in near), *filter(None, [rest])])
