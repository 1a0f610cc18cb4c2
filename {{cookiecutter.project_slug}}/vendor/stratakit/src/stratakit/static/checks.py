"""The table of checks; a row more is a check more.

A tool comes out of a wheel that uv.lock pins. Those of infrastructure, whose pins clash with
everybody's, are on PATH or in environments of their own (see stratakit.infra); where one cannot be
had, its check is absent. Once they are installed, none of them needs a network.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from .. import environment
from ..errors import Code, ConfigurationError, StrataError
from . import versions
from .versions import DOCKERFILES, MANIFESTS


@dataclass(frozen=True, slots=True)
class Check:
    """A check that one tool makes.

    `files` are globs over paths relative to the project; their `*` crosses slashes. In a command,
    `{files}` stands for the files that match and `{package}` for the folder of a package. Without
    a command there must be no such files in the whole project.
    """

    name: str
    files: tuple[str, ...]
    command: tuple[str, ...]
    hint: str
    """What fixes a finding; where that can be, a command."""
    fix: tuple[str, ...] = ()
    """The command that fixes what it can, in place of `command`; it fails for the rest."""
    per_package: bool = False
    """Whether it runs once for each package with such files, on all of those in it."""
    env: Mapping[str, str] = field(default_factory=dict)
    usage_exit_code: int | None = 2
    """The tool's exit code for settings that it cannot work with."""
    explain: Callable[[str], StrataError] | None = None
    """Returns the error that the output means, where the exit code does not tell."""
    advice: str = ""
    """The words with which a tool begins to say what to do, for which there is `hint`."""
    vendored: bool = False
    """Whether it looks at what is vendored, which the others leave out."""
    needs: str = ""
    """The file without which it cannot be made."""
    absent: str = ""
    """Why that file may be missing, and how to get it."""
    absent_exit_code: int | None = None
    """The exit code by which a command says that it is absent; its output is the reason."""
    kept: bool = False
    """Whether it is slow, so not made again before a file that it reads has changed."""

    def select(self, paths: Sequence[str]) -> list[str]:
        """Return those of `paths` that the check looks at."""
        return [
            file
            for file in paths
            if is_vendored(file) == self.vendored
            and any(fnmatchcase(file, glob) for glob in self.files)
        ]


def is_vendored(file: str) -> bool:
    """Return whether a file is vendored: its manifest is checked, not its content."""
    return file.startswith("vendor/")


def explain_lock(output: str) -> StrataError:
    """Return the error that `uv lock --check` means by `output`."""
    if "Unable to find lockfile" in output:
        return ConfigurationError("uv.lock is missing: it belongs in git", "uv lock")
    return environment.diagnose(output)


ABSENT = 75
"""The exit code of our own commands where a check cannot be made: EX_TEMPFAIL of sysexits.h."""


def _infrastructure(name: str, hint: str, *files: str, fix: str = "") -> Check:
    """Return the row of a check that `stratakit.infra` makes."""
    command = ("python", "-m", "stratakit.infra")
    return Check(
        name=name,
        files=files,
        command=(*command, name),
        fix=(*command, fix) if fix else (),
        hint=hint,
        usage_exit_code=None,
        absent_exit_code=ABSENT,
        kept=True,
    )


FIX = "uv run nox -s static -- --fix"
KEY = "correct the key that it names"

PYTHON = ("*.py", "*.pyi")
WORKFLOWS = (".github/workflows/*.yml", ".github/workflows/*.yaml")
TERRAFORM = ("infra/terraform/*",)
COMPOSE = ("compose.yaml", "services/*/compose.yaml")

REJECTS = Check(
    name="rejects",
    files=("*.rej", "*.orig"),
    command=(),
    hint="an update or a merge left it: take over by hand what it holds, then remove it",
)

CHECKS = (
    # Before `format`: what its fixes leave may need to be formatted.
    Check(
        name="lint",
        files=PYTHON,
        command=("ruff", "check", "--force-exclude", "{files}"),
        fix=("ruff", "check", "--force-exclude", "--fix", "{files}"),
        hint=FIX,
    ),
    Check(
        name="format",
        files=PYTHON,
        command=("ruff", "format", "--force-exclude", "--check", "{files}"),
        fix=("ruff", "format", "--force-exclude", "{files}"),
        hint=FIX,
    ),
    Check(
        name="types",
        files=PYTHON,
        # Most is of packages that are imported; two workers take two thirds of the time of one.
        command=("mypy", "--num-workers", "2", "{files}"),
        # Two services may each have a tests/conftest.py, which in one run would be one module.
        per_package=True,
        env={
            "MYPYPATH": os.pathsep.join(("{package}/src", "{package}")),
            # In one that the hook and the session share, each undoes what the other has cached.
            "MYPY_CACHE_DIR": str(Path(sys.prefix) / ".mypy_cache"),
        },
        hint="correct the types, or write the reason: # type: ignore[code]  # why",
        # Two is also how it says that a file is no Python.
        usage_exit_code=None,
    ),
    Check(
        name="dependencies",
        files=("*/src/*.py", "*/pyproject.toml"),
        command=("deptry", "--config", "{package}/pyproject.toml", "{package}/src"),
        per_package=True,
        hint="uv add it, uv remove it, or say why not under [tool.deptry] of the package",
    ),
    Check(
        name="lock",
        files=(*MANIFESTS, "uv.lock"),
        command=("uv", "lock", "--check"),
        hint="uv lock",
        explain=explain_lock,
    ),
    Check(
        name="pyproject",
        files=MANIFESTS,
        # Of the tools' own schemas only uv's: uv itself passes over a key that it does not know.
        command=("validate-pyproject", "{files}", "--enable-plugins", "uv"),
        hint=KEY,
    ),
    Check(
        name="versions",
        files=versions.FILES,
        command=("python", "-m", "stratakit.static.versions", "{files}"),
        fix=("python", "-m", "stratakit.static.versions", "--fix", "{files}"),
        hint=f"{FIX}; or set the key that it names in [tool.stratakit] of pyproject.toml",
        usage_exit_code=Code.CONFIGURATION,
    ),
    Check(
        name="workflows",
        files=WORKFLOWS,
        command=("check-jsonschema", "--builtin-schema", "vendor.github-workflows", "{files}"),
        hint=KEY,
    ),
    Check(
        name="zizmor",
        files=(*WORKFLOWS, ".github/actions/*.yml", ".github/dependabot.yml"),
        command=("zizmor", "--offline", "--no-progress", "{files}"),
        hint="follow its link, or write the reason: # zizmor: ignore[name] why",
    ),
    Check(
        name="actionlint",
        files=WORKFLOWS,
        # Its other profiles have opinions, such as on jobs without a time limit.
        command=("jactionlint", "--profile", "correctness", "{files}"),
        hint="correct what it names",
    ),
    Check(
        name="dependabot",
        files=(".github/dependabot.yml",),
        command=("check-jsonschema", "--builtin-schema", "vendor.dependabot", "{files}"),
        hint=KEY,
    ),
    Check(
        name="renovate",
        files=("renovate.json", ".github/renovate.json"),
        command=("check-jsonschema", "--builtin-schema", "vendor.renovate", "{files}"),
        hint=KEY,
    ),
    Check(
        name="hadolint",
        files=DOCKERFILES,
        command=("hadolint", "--no-color", "{files}"),
        hint="follow the rule, or write the reason above the line: # hadolint ignore=DL3008",
        usage_exit_code=None,
    ),
    _infrastructure("terraform", FIX, *TERRAFORM, fix="terraform-fix"),
    _infrastructure(
        "tflint", "correct what it names, or infra/.tflint.hcl", *TERRAFORM, "infra/.tflint.hcl"
    ),
    _infrastructure(
        "checkov",
        "correct what it names, or skip it with the reason: #checkov:skip=ID:why",
        *TERRAFORM,
        "infra/checkov.yaml",
        *DOCKERFILES,
        *WORKFLOWS,
    ),
    _infrastructure(
        "policies",
        "correct the module or Compose file, or the rule and its fixtures in infra/policies",
        *TERRAFORM,
        "infra/policies/*",
        *COMPOSE,
    ),
    REJECTS,
    Check(
        name="secrets",
        files=("*",),
        command=(
            "detect-secrets-hook",
            # Else it tries out what it finds, against the service that it opens.
            "--no-verify",
            # Digests and revisions are hexadecimal; a key that is so has a telling name.
            *("--disable-plugin", "HexHighEntropyString"),
            # What opens only the machine that it stands on is no secret, nor is a placeholder.
            *("--exclude-lines", r"@(localhost|127\.0\.0\.1)\b"),
            *("--exclude-secrets", "^(password|postgres|secret|CHANGE_ME|required|optional)$"),
            "{files}",
        ),
        hint="revoke it and take it out; a false alarm: # pragma: allowlist secret",
        advice="Possible mitigations:",
    ),
    Check(
        name="engine",
        files=("vendor/stratakit/*",),
        command=("python", "-m", "stratakit.manifest"),
        vendored=True,
        needs="vendor/stratakit/manifest.sha256",
        absent="the project was baked with hooks off: python -m stratakit.manifest --write",
        hint="git checkout -- vendor/stratakit; to change it: uv run invoke engine.eject",
    ),
)
