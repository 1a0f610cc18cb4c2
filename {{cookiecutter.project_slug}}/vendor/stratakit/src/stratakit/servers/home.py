"""The folder that an embedded server lives in, and who may enter it."""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path, user_data_path

from ..errors import InfrastructureError, translated
from ..pyproject import table

if TYPE_CHECKING:
    from pwd import struct_passwd

SOCKET_LIMIT = 100
"""Bytes that the path of a socket may have; the kernels' limits are 104 (macOS) and 108 (Linux)."""


def server_user() -> "struct_passwd | None":
    """Return the user to run servers as: `nobody` for root, whom PostgreSQL refuses, else None."""
    if _user() != 0:
        return None
    # Not there on Windows, where the folder of the stack is looked for here all the same.
    from pwd import getpwnam

    return getpwnam("nobody")


def nameless() -> str | None:
    """Return why initdb refuses the user that we are; None if it does not.

    It wants a name for them, which a container that is started with a mere number has not.
    """
    try:
        from pwd import getpwuid

        getpwuid(_user())
    except ImportError:  # On Windows, where users have no numbers.
        return None
    except KeyError:
        return f"the user {_user()} has no entry in /etc/passwd, without which initdb refuses them"
    return None


# Unlike /tmp it is not emptied when the machine starts, which would cost the warm data.
_SHARED = Path("/var/tmp")  # noqa: S108 - `private` makes sure that the folder in it is ours

_KEPT = Path("/var/lib")


def candidates(project: str = "") -> list[Path]:
    """Return the folders that may be the cache of a project, by default of this one, as tried.

    It is in the user's cache, or in a shared temporary folder where that is of no use: `nobody`
    cannot enter root's, and a home may be read-only.
    """
    name = project or str(table()["project"])
    shared = _SHARED / f"{name}-{_user()}"
    return [shared] if server_user() else [user_cache_path(name), shared]


def cache() -> Path:
    """Return the folder for everything that the project keeps on this machine.

    Raises:
        InfrastructureError: somebody else has made the folder in the shared place.
    """
    *owns, shared = candidates()
    for own in owns:
        try:
            made(own, 0o700)
        except OSError:
            continue
        if os.access(own, os.W_OK) and not noexec(own):
            return own
    with translated("the folder for the project's servers cannot be made"):
        refuse_closed(shared)
        return private(shared, mode=0o711)


def place() -> Path:
    """Return where `cache` is, or perhaps would be: for who only looks, nothing is made."""
    *owns, shared = candidates()
    good = (own for own in owns if os.access(own, os.W_OK) and not noexec(own))
    return next(good, shared)


def data() -> Path:
    """Return the folder for data that is kept: unlike a cache, no system empties it.

    Raises:
        InfrastructureError: it cannot be made, or is not ours, or servers cannot enter it.
    """
    folder = data_folder(str(table()["project"]))
    try:
        if not server_user():
            return made(folder, 0o700)
        refuse_closed(folder)
        return private(folder, mode=0o711)
    except OSError as error:
        raise InfrastructureError(
            f"the folder for the data of dev cannot be made: {error}",
            "XDG_DATA_HOME=/a/folder/elsewhere, or STRATA_SERVERS=docker",
        ) from error


def data_folder(project: str) -> Path:
    """Return where the data of a project is kept; it need not be there."""
    if not server_user():
        return user_data_path(project)
    # Below root's home nobody else can enter.
    return Path(os.environ.get("XDG_DATA_HOME") or _KEPT) / project


def elsewhere() -> str:
    """Return what helps where the folder cannot be used: another one, which root has not."""
    if server_user():
        return f"mount -o remount,rw,exec {_SHARED}, or STRATA_SERVERS=docker"
    return "XDG_CACHE_HOME=/a/folder/elsewhere"


def made(folder: Path, mode: int) -> Path:
    """Make a folder of ours, and give it at least this mode: a umask may have taken some of it."""
    for missing in [each for each in reversed(folder.parents) if not each.exists()]:
        made(missing, 0o700)
    folder.mkdir(mode=mode, exist_ok=True)
    found = stat.S_IMODE(folder.stat().st_mode)
    if mode & ~found:
        folder.chmod(found | mode)
    return folder


def noexec(folder: Path) -> bool:
    """Return whether no program may be run that lies in a folder, as far as the system tells."""
    return bool(hasattr(os, "ST_NOEXEC") and os.statvfs(folder).f_flag & os.ST_NOEXEC)


def refuse_closed(folder: Path) -> None:
    """Make sure that the servers' own user can get to a folder, which need not be there yet.

    Raises:
        InfrastructureError: a folder above it keeps that user out.
    """
    user = server_user()
    for above in reversed(folder.parents) if user else ():
        found = above.stat()
        # Neither the owner nor of the group: of `nobody` there is nothing that somebody has made.
        if user and found.st_uid != user.pw_uid and not found.st_mode & stat.S_IXOTH:
            raise InfrastructureError(
                f"the servers' user {user.pw_name} cannot enter {above}, whose mode is"
                f" {stat.S_IMODE(found.st_mode):o}",
                f"chmod o+x {above}, or STRATA_SERVERS=docker to do without embedded servers",
            )


def private(folder: Path, mode: int = 0o700) -> Path:
    """Make `folder`, or make sure that it is ours.

    Raises:
        InfrastructureError: it is a link, or belongs to somebody else, or others may write to it.
    """
    # Of a file or a dangling link, what follows says it better.
    with suppress(FileExistsError):
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    refuse_foreign(folder)
    return made(folder, mode)


def refuse_foreign(folder: Path) -> None:
    """Make sure that a folder is ours, if it is there.

    Raises:
        InfrastructureError: it is a link, or belongs to somebody else, or others may write to it.
    """
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == _user()
    if not ours or found.st_mode & 0o022:
        raise InfrastructureError(
            f"{folder} is not a folder of ours that only we can write to; somebody may have put it"
            " there to get at the test servers",
            f"look at it, and remove it: ls -ld {folder}",
        )


def store(folder: Path) -> Path:
    """Make the folder that only the server's own user can enter, for data and sockets."""
    user = server_user()
    made(folder, 0o700)
    # Whoever made it may have been killed in between, or be just about to.
    if user and folder.stat().st_uid != user.pw_uid:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def sockets(preferred: Path, longest_name: str) -> Path:
    """Return a folder for sockets: `preferred`, unless the kernel would not take their paths.

    Raises:
        InfrastructureError: it would not take those in the temporary folder either.
    """
    if socket_folder(preferred, longest_name) == preferred:
        return preferred
    return store(private(_short(preferred).parent, mode=0o711) / "s")


def socket_folder(preferred: Path, longest_name: str) -> Path:
    """Return which folder `sockets` takes, and make none.

    Raises:
        InfrastructureError: the kernel would not take the paths of sockets there.
    """
    for folder in (preferred, _short(preferred)):
        if len(os.fsencode(folder / longest_name)) <= SOCKET_LIMIT:
            return folder
    raise InfrastructureError(
        f"the paths of sockets below {preferred} and below {_short(preferred)} are longer than the"
        f" {SOCKET_LIMIT} bytes that are safe",
        "TMPDIR=/tmp",
    )


def _short(preferred: Path) -> Path:
    # Of the whole path: servers of two projects are called alike, and would meet in one folder.
    digest = hashlib.sha256(os.fsencode(preferred)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"strata-{digest}-{_user()}" / "s"


def _user() -> int:
    """Return the number of our user; on Windows, which has none, one that owns no file."""
    return os.geteuid() if hasattr(os, "geteuid") else -1
