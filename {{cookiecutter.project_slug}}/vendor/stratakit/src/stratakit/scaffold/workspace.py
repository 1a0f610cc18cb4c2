"""The lock of the project as it would be with other services."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from .. import environment, limits, programs
from ..pyproject import ROOT

# Offline first: a service seldom needs what is not locked yet, and then nothing is asked for.
_ATTEMPTS = (("--offline",), ())
_NOT_LINKED = {".git", ".nox", "services", environment.LOCK.name}


def lock(scratch: Path, services: Mapping[str, Path]) -> Path:
    """Return a lock of the project with exactly these services; it is in `scratch`.

    Raises:
        ConfigurationError: their dependencies do not go together.
        InfrastructureError: uv is not installed, or does not reach the package index.
    """
    workspace = scratch / "workspace"
    (workspace / "services").mkdir(parents=True)
    for entry in ROOT.iterdir():
        if entry.name not in _NOT_LINKED:
            (workspace / entry.name).symlink_to(entry)
    for name, path in services.items():
        (workspace / "services" / name).symlink_to(path)
    if environment.LOCK.exists():
        # So that what is locked already stays at its version.
        shutil.copy(environment.LOCK, workspace)
    said = ""
    for flags in _ATTEMPTS:
        done = programs.run(
            [environment.uv(), "lock", "--quiet", *flags],
            limits.DOWNLOAD,
            cwd=workspace,
            env={key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
        )
        if done.returncode == 0:
            return workspace / environment.LOCK.name
        said = done.stderr.strip()
    cause = environment.diagnose(said)
    raise type(cause)(f"uv cannot lock the project, so nothing was changed:\n{said}", cause.hint)
