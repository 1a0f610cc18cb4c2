"""Why an embedded server that is up is of no use: its connections are taken, or it is halted."""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ..errors import InfrastructureError

if TYPE_CHECKING:
    from . import Kind


def unanswering(kind: "Kind", note: Path, why: str) -> InfrastructureError:
    """Return what it means that a server which is up does not answer.

    Args:
        kind: of the server.
        note: the file that names its process.
        why: what became of the attempts to connect to it.
    """
    number, state, users = _look(note)
    said = f"the embedded {kind} is up (process {number}{state}) but refuses connections: {why}"
    if state:
        return InfrastructureError(said, f"kill -CONT {number}")
    if users:
        said += f"\nits connections are taken by: {users}"
    return InfrastructureError(
        said, f"end what is connected to it; or the server, whose data stays: kill -INT {number}"
    )


def unending(kind: "Kind", note: Path) -> tuple[str, str]:
    """Return who is in the way where a server is being stopped, and what helps."""
    number, state, _ = _look(note)
    return (
        f"the embedded {kind} (process {number}{state}) is being stopped, and does not end",
        f"end it: kill -KILL {number}",
    )


def _look(note: Path) -> tuple[str, str, str]:
    """Return the number of a server's process, how it is, and who uses how many connections."""
    try:
        number = note.read_text(encoding="ascii").strip()
        process = psutil.Process(int(number))
        state = ", which is halted" if process.status() == psutil.STATUS_STOPPED else ""
        titles = [_title(each) for each in process.children()]
    except (OSError, ValueError, psutil.Error):
        return "unknown", "", ""
    # As PostgreSQL calls the process of a session: `postgres: USER DATABASE [local] idle`.
    names = [title[2] for title in titles if len(title) > 3 and title[3].startswith("[")]  # noqa: PLR2004 - as above
    return number, state, ", ".join(f"{name} ({n})" for name, n in Counter(names).most_common())


def _title(process: psutil.Process) -> list[str]:
    # One that has ended, and that a halted server has not taken notice of, has none.
    with suppress(psutil.Error):
        return " ".join(process.cmdline()).split()
    return []
