"""Folders of embedded servers, and their permissions."""

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
"""Maximum length of a socket's path in bytes; the kernels allow 104 (macOS) and 108 (Linux)."""


def server_user() -> "struct_passwd | None":
    """Return the user to run servers as: `nobody` for root, which PostgreSQL refuses, else None."""
    if _user() != 0:
        return None
    # Imported late: Windows has no `pwd`, but calls this for the stack's folder too.
    from pwd import getpwnam

    return getpwnam("nobody")


def nameless() -> str | None:
    """Return why initdb would refuse the current user; None if it would not.

    It needs the user's name, which is missing in a container that was started with a bare uid.
    """
    try:
        from pwd import getpwuid

        getpwuid(_user())
    except ImportError:  # Windows has no uids.
        return None
    except KeyError:
        return f"the user {_user()} has no entry in /etc/passwd, without which initdb refuses them"
    return None


# Unlike /tmp, it is not emptied on boot, so the warm data survives.
_SHARED = Path("/var/tmp")  # noqa: S108 - `private` makes sure that the folder in it is ours

_KEPT = Path("/var/lib")


def candidates(project: str = "") -> list[Path]:
    """Return the candidates for a project's cache folder (default: this project), in order.

    The user's cache comes first, then a shared temporary folder: `nobody` cannot enter root's
    home, and a home may be read-only.
    """
    name = project or str(table()["project"])
    shared = _SHARED / f"{name}-{_user()}"
    return [shared] if server_user() else [user_cache_path(name), shared]


def cache() -> Path:
    """Return the project's cache folder on this machine, created if missing.

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
    """Return the path that `cache` returns or would return, without creating it."""
    *owns, shared = candidates()
    good = (own for own in owns if os.access(own, os.W_OK) and not noexec(own))
    return next(good, shared)


def data() -> Path:
    """Return the folder for persistent data, which unlike a cache is never emptied by the system.

    Raises:
        InfrastructureError: it cannot be created, is not ours, or servers cannot enter it.
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
    """Return the path of a project's data folder, which need not exist."""
    if not server_user():
        return user_data_path(project)
    # Other users cannot enter root's home.
    return Path(os.environ.get("XDG_DATA_HOME") or _KEPT) / project


def elsewhere() -> str:
    """Return the hint for an unusable folder: another one, or a remount where root has only one."""
    if server_user():
        return f"mount -o remount,rw,exec {_SHARED}, or STRATA_SERVERS=docker"
    return "XDG_CACHE_HOME=/a/folder/elsewhere"


def made(folder: Path, mode: int) -> Path:
    """Create a folder, and give it at least this mode: the umask may have removed some bits."""
    for missing in [each for each in reversed(folder.parents) if not each.exists()]:
        made(missing, 0o700)
    folder.mkdir(mode=mode, exist_ok=True)
    found = stat.S_IMODE(folder.stat().st_mode)
    if mode & ~found:
        folder.chmod(found | mode)
    return folder


def noexec(folder: Path) -> bool:
    """Return whether a folder's file system is mounted noexec, where the platform can tell."""
    return bool(hasattr(os, "ST_NOEXEC") and os.statvfs(folder).f_flag & os.ST_NOEXEC)


def refuse_closed(folder: Path) -> None:
    """Make sure that the servers' user can reach a folder, which need not exist yet.

    Raises:
        InfrastructureError: that user cannot enter one of its parents.
    """
    user = server_user()
    for above in reversed(folder.parents) if user else ():
        found = above.stat()
        # Only the bits for others apply: `nobody`'s group owns no folders.
        if user and found.st_uid != user.pw_uid and not found.st_mode & stat.S_IXOTH:
            raise InfrastructureError(
                f"the servers' user {user.pw_name} cannot enter {above}, whose mode is"
                f" {stat.S_IMODE(found.st_mode):o}",
                f"chmod o+x {above}, or STRATA_SERVERS=docker to do without embedded servers",
            )


def private(folder: Path, mode: int = 0o700) -> Path:
    """Create `folder`, or make sure that it is ours.

    Raises:
        InfrastructureError: it is a link, belongs to another user, or others may write to it.
    """
    # For a file or a dangling link, refuse_foreign has the better message.
    with suppress(FileExistsError):
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    refuse_foreign(folder)
    return made(folder, mode)


def refuse_foreign(folder: Path) -> None:
    """Make sure that a folder is ours if it exists.

    Raises:
        InfrastructureError: it is a link, belongs to another user, or others may write to it.
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
    """Create the folder for data and sockets, which only the server's user can enter."""
    user = server_user()
    made(folder, 0o700)
    # Another process may have been killed before this chown, or not have reached it yet.
    if user and folder.stat().st_uid != user.pw_uid:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def sockets(preferred: Path, longest_name: str) -> Path:
    """Return a folder for sockets: `preferred`, unless their paths would be too long.

    Raises:
        InfrastructureError: they would be too long in the temporary folder as well.
    """
    if socket_folder(preferred, longest_name) == preferred:
        return preferred
    return store(private(_short(preferred).parent, mode=0o711) / "s")


def socket_folder(preferred: Path, longest_name: str) -> Path:
    """Return the folder that `sockets` uses, without creating it.

    Raises:
        InfrastructureError: the paths of sockets would be too long in either.
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
    # Hash of the whole path: equally named servers of two projects would share a folder.
    digest = hashlib.sha256(os.fsencode(preferred)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"strata-{digest}-{_user()}" / "s"


def _user() -> int:
    """Return our uid; on Windows, which has none, -1, which owns no file."""
    return os.geteuid() if hasattr(os, "geteuid") else -1
