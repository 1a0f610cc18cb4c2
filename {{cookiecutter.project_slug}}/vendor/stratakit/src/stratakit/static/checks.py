"""Table of static checks; to add a check, add a row.

Tools come from wheels pinned in uv.lock. Infrastructure tools, whose pins conflict with all others,
are on PATH or in environments of their own (see stratakit.infra); if one is unavailable, its check
is absent. Once installed, none of them needs a network.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .. import environment
from ..errors import Code, ConfigurationError, StrataError
from . import versions
from .versions import DOCKERFILES, MANIFESTS


@dataclass(frozen=True, slots=True)
class Check:
    """Check made by one tool.

    `files` are globs over paths relative to the project, in which `*` also matches slashes. In a
    command, `{files}` stands for the matching files and `{package}` for the folder of a package. A
    check without a command fails if any matching file exists in the project.
    """

    name: str
    files: tuple[str, ...]
    command: tuple[str, ...]
    hint: str
    """Fix for a finding, if possible a command."""
    fix: tuple[str, ...] = ()
    """Command that replaces `command` with --fix; it fails if unfixable findings remain."""
    per_package: bool = False
    """Whether it runs once for each package with matching files, on all of them."""
    whole: bool = False
    """Whether it always runs on all matching files: a change in one may be an error in another."""
    usage_exit_code: int | None = 2
    """Exit code of the tool for invalid settings."""
    usage_messages: tuple[str, ...] = ()
    """Parts of its output for invalid settings, if the exit code does not show them."""
    explain: Callable[[str], StrataError] | None = None
    """Function that returns the error for an output, if the exit code is ambiguous."""
    advice: str = ""
    """Start of the tool's own advice, which is cut off in favour of `hint`."""
    vendored: bool = False
    """Whether it checks vendored files, which the other checks skip."""
    needs: str = ""
    """File without which the check is absent."""
    absent: str = ""
    """Reason why that file may be missing, and how to get it."""
    absent_exit_code: int | None = None
    """Exit code of a command that is absent; its output is the reason."""
    kept: bool = False
    """Whether a pass is cached until a file that it reads changes, since it is slow."""

    def select(self, paths: Sequence[str]) -> list[str]:
        """Return the `paths` that the check applies to."""
        return [
            file
            for file in paths
            if is_vendored(file) == self.vendored
            and any(fnmatchcase(file, glob) for glob in self.files)
        ]


def is_vendored(file: str) -> bool:
    """Return whether a file is vendored: only its checksum in the manifest is checked."""
    return file.startswith("vendor/")


def explain_lock(output: str) -> StrataError:
    """Return the error for the `output` of a failed `uv lock --check`."""
    if "Unable to find lockfile" in output:
        return ConfigurationError("uv.lock is missing: it belongs in git", "uv lock")
    return environment.diagnose(output)


ABSENT = 75
"""Exit code of our own commands if a check is absent: EX_TEMPFAIL of sysexits.h."""


def _infrastructure(name: str, hint: str, *files: str, fix: str = "") -> Check:
    """Return the row of a check made by `stratakit.infra`."""
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
    hint="an update or a merge left it: apply its changes by hand, then remove it",
)

CHECKS = (
    # Before `format`: code fixed by the linter may need formatting.
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
        command=(
            *("pyrefly", "check", "--summary=none", "--min-severity=error"),
            *("--python-interpreter-path", sys.executable, "{files}"),
        ),
        whole=True,
        hint="correct the types, or write the reason: # pyrefly: ignore[code]  # why",
        usage_messages=(
            "Extra keys found in config",
            "Fatal configuration error",
            "Invalid search-path",
            "TOML parse error",
        ),
        advice="No `pyrefly.toml` found",
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
        # Of the tool schemas only uv's is enabled: uv itself ignores unknown keys.
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
        # Its other profiles are opinionated, for example about jobs without a timeout.
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
            # Otherwise it tries each secret against the service that it belongs to.
            "--no-verify",
            # Digests and revisions are hexadecimal too; hexadecimal keys are found by their names.
            *("--disable-plugin", "HexHighEntropyString"),
            # Passwords for localhost are not secrets, and neither are placeholders.
            *("--exclude-lines", r"@(localhost|127\.0\.0\.1)\b"),
            *("--exclude-secrets", "^(password|postgres|secret|CHANGE_ME|required|optional)$"),
            "{files}",
        ),
        hint="revoke and remove it; a false alarm: # pragma: allowlist secret",
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
