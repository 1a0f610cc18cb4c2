"""Python, uv, what uv has made, and Terraform."""

import importlib.metadata
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from .. import environment as environments
from ..environment import REINSTALL, VENV
from ..errors import ConfigurationError, InfrastructureError
from ..manifest import ENGINE
from .run import ask, version

# From no cache and without a network uv can compare, but neither resolve nor write.
LOOKING = ("--offline", "--no-cache")
RESOLVES = "network was disabled"
"""What uv says when it would have to resolve: the lock is not that of the pyproject.toml files."""
DOWNLOADS = "download is available"
"""What uv says where it would download a Python, if it were not for this question."""


def python() -> str:
    """Look at the Python that runs this, and at the one that uv is told to take."""
    oldest = _oldest_python()
    here = f"{platform.python_version()} ({sys.executable}); the project takes {oldest} or newer"
    if sys.version_info[:2] < tuple(map(int, oldest.split("."))):
        raise ConfigurationError(f"this is {here}", f"uv python install {oldest}")
    try:
        output = ask(environments.uv(), "lock", "--check", *LOOKING).stdout
    except InfrastructureError:
        # The row of uv says it.
        return here
    if DOWNLOADS in output or not any(sign in output for sign in environments.WRONG_PYTHON):
        return here
    raise environments.diagnose(output)


def uv() -> str:
    """Look at uv."""
    program = environments.uv()
    found = version(program, "--version", hint="python3 -m pip install --force-reinstall uv")
    return f"{found.removeprefix('uv ')} ({program})"


def lock() -> str:
    """Look at uv.lock: there, and that of the pyproject.toml files."""
    done = ask(environments.uv(), "lock", "--check", *LOOKING, "--python", sys.executable)
    if done.returncode:
        raise environments.diagnose(done.stdout.replace(RESOLVES, "lock needs to be updated"))
    return "uv.lock is there and fresh"


def environment() -> str:
    """Look at .venv: its interpreter starts, and it has what the lock says."""
    program = environments.python(VENV)
    if not VENV.is_dir():
        raise InfrastructureError(".venv is not there", "uv run invoke setup")
    python = version(str(program), "--version", hint="uv run invoke setup, which makes a new one")
    if environments.moved(VENV):
        raise InfrastructureError(
            ".venv was copied or moved to here: its programs start what is elsewhere", REINSTALL
        )
    gone = sorted(_gone())
    if gone:
        raise InfrastructureError(f".venv has lost files of {', '.join(gone)}", REINSTALL)
    words = ("sync", "--check", "--locked", "--all-packages", "--all-groups", *LOOKING)
    done = ask(environments.uv(), *words, "--python", str(program))
    if "environment is outdated" in done.stdout:
        changes = len(re.findall(r"^ [+~-] ", done.stdout, re.MULTILINE))
        raise InfrastructureError(
            f".venv is not what uv.lock says: {changes} changes", "uv run invoke setup"
        )
    if done.returncode:
        raise InfrastructureError(".venv cannot be compared with uv.lock", "uv run invoke setup")
    return f".venv is what uv.lock says, on {python}"


def terraform() -> str:
    """Look at Terraform, or OpenTofu."""
    program = shutil.which("terraform") or shutil.which("tofu")
    if not program:
        raise InfrastructureError(
            "neither terraform nor tofu is on PATH", "see opentofu.org/docs/intro/install"
        )
    done = ask(program, "version", hint="install it again")
    found = re.search(r"v\d[\w.+-]*", done.stdout)
    return f"{found[0] if found else 'of some version'} ({program})"


def _oldest_python() -> str:
    """Return the lowest version that the engine allows."""
    source = ENGINE / "pyproject.toml"
    # An engine that is a wheel says it in its metadata.
    wheel = "" if source.exists() else str(importlib.metadata.metadata("stratakit"))
    text = wheel or source.read_text(encoding="utf-8")
    bound = re.search(r"^requires-python\W+(\d+\.\d+)", text, re.IGNORECASE | re.MULTILINE)
    if not bound:
        raise ConfigurationError(
            f"{source} has no lower bound of Python", 'requires-python = ">=3.11"'
        )
    return bound[1]


def _gone() -> Iterator[str]:
    """Yield the packages whose modules are not where their installer put them."""
    folders = [str(folder) for folder in VENV.glob("[Ll]ib/**/site-packages")]
    for found in importlib.metadata.distributions(path=folders):
        record = found.read_text("RECORD") or ""
        modules = re.findall(r"^([\w-]+/__init__\.py|[\w-]+\.py),", record, re.MULTILINE)
        if not all(Path(str(found.locate_file(name))).exists() for name in modules):
            yield found.name
