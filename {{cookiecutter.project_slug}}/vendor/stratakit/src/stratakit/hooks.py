"""Git hooks that `invoke setup` installs, and that work from any checkout of the repository.

All worktrees of a repository share its hooks. The scripts that pre-commit generates contain the
path of one interpreter, so they break once that worktree is removed or its folder is renamed.
"""

import re
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigurationError, InfrastructureError
from .git import GitError, git
from .pyproject import ROOT

CONFIG = ".pre-commit-config.yaml"

_SCRIPT = """\
#!/bin/sh
# Written by `uv run invoke setup`. git starts it in the folder of the checkout that is worked in,
# and uv finds, or makes, the environment there.
{mark}
refuse() {{
    printf '%s\\n  hint: %s; without this check, add --no-verify\\n' "$1" "$2" >&2
    exit 1
}}
[ -f {config} ] || refuse "configuration: there is no {config} in $PWD" "git checkout {config}"
command -v uv >/dev/null || refuse "infrastructure: uv is not on PATH" "python3 -m pip install uv"
uv sync --frozen --inexact --quiet ||
    refuse "infrastructure: uv cannot make the environment in $PWD" "uv run invoke setup"
exec uv run --no-sync python -m pre_commit hook-impl --config={config} \\
    --hook-type={stage} --hook-dir "$(cd "$(dirname "$0")" && pwd)" -- "$@"
"""


@dataclass(frozen=True, slots=True)
class Repository:
    """The git repository that the project is in."""

    prefix: str
    """Path of the project in it, with a trailing slash; empty if the project is its root."""
    hooks: Path
    path: str = ""
    """Value of `core.hooksPath`, set for this repository or globally."""

    @property
    def has_own_hooks(self) -> bool:
        """Whether its hooks must not be overwritten."""
        return bool(self.prefix or self.path)

    @property
    def command(self) -> str:
        """Command for the repository's own hooks to call."""
        folder = shlex.quote(self.prefix.rstrip("/"))
        return f"uv run {f'--directory {folder} ' if self.prefix else ''}nox -s static unit"

    def reason(self) -> str:
        """Return why our hooks are not installed."""
        if self.prefix:
            return (
                f"the project is in {self.prefix} of a bigger repository, whose hooks are its own"
            )
        return f"core.hooksPath is {self.path}, so that git has hooks of its user's there"

    def blocked(self) -> list[str]:
        """Return the hooks of an enclosing repository that run our checks from the wrong folder."""
        if not self.prefix:
            return []
        config = f"--config={self.prefix}{CONFIG}"
        return [stage for stage in stages() if config in _text(self.hooks / stage)]


def repository() -> Repository | None:
    """Return the git repository that the project is in; None if there is none, or no git."""
    path = ""
    try:
        told = git(ROOT, "rev-parse", "--show-prefix", "--git-path", "hooks")
        with suppress(GitError):  # It is not set.
            path = git(ROOT, "config", "core.hooksPath").strip()
    except (GitError, InfrastructureError):
        return None
    prefix, hooks = told.splitlines()
    return Repository(prefix, ROOT / hooks, path)


def stages() -> list[str]:
    """Return the hook types that pre-commit's configuration lists."""
    config = (ROOT / CONFIG).read_text(encoding="utf-8")
    listed = re.search(r"^default_install_hook_types: \[(.*)\]", config, re.MULTILINE)
    return re.findall(r"[\w-]+", listed[1]) if listed else ["pre-commit"]


def write(folder: Path) -> None:
    """Replace the scripts that pre-commit has just written to `folder` with ours.

    pre-commit has renamed the hooks that it found there, and still runs them.
    """
    for stage in stages():
        text = _script(folder, stage)
        # Shells do not accept CRLF line endings.
        (folder / stage).write_text(text, encoding="utf-8", newline="\n")


def look() -> str:
    """Return a summary of the installed hooks.

    Raises:
        ConfigurationError: the hooks make every commit fail.
        InfrastructureError: hooks are missing, or differ from ours.
    """
    setup = "uv run invoke setup"
    found = repository()
    if not found:
        raise InfrastructureError("there is no git repository to install them in", setup)
    if found.blocked():
        raise ConfigurationError(
            f"{', '.join(found.blocked())} cannot work, and nobody can commit: {found.reason()}",
            setup,
        )
    if found.has_own_hooks:
        raise InfrastructureError(
            f"not installed: {found.reason()}", f"let them call: {found.command}"
        )
    wanted = stages()
    missing = [name for name in wanted if not _text(found.hooks / name)]
    if missing:
        raise InfrastructureError(f"not installed: {', '.join(missing)}", setup)
    others = [
        name
        for name in wanted
        if _text(found.hooks / name) != _script(found.hooks, name)
        or not shutil.which(found.hooks / name)
    ]
    if others:
        raise InfrastructureError(
            f"different from what setup installs, and may not work here: {', '.join(others)}", setup
        )
    return f"installed: {', '.join(wanted)}"


def _script(folder: Path, stage: str) -> str:
    """Return the script for one hook, with the mark by which pre-commit recognizes its own."""
    mark = re.search(r"^# ID: \w+$", _text(folder / stage), re.MULTILINE)
    return _SCRIPT.format(mark=mark[0] if mark else "#", config=CONFIG, stage=stage)


def _text(file: Path) -> str:
    """Return the content of a file; empty if it does not exist."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
