"""`python -m stratakit.infra CHECK`: one static check of infrastructure, for stratakit.static.

Exits with 75 where the check is absent here, and prints why. A check whose files have not changed
since it last passed is not made again.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import environment, limits, programs
from ..errors import Code, InfrastructureError, StrataError
from ..pyproject import REPORTS, ROOT
from . import gate, terraform, tools

ABSENT = 75
"""The exit code of a check that cannot be made here: EX_TEMPFAIL of sysexits.h."""
PASSED = environment.ENVIRONMENTS / "passed"
"""Where the digest of the files is kept with which a check last passed."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check, the files that it reads, and what makes it."""

    name: str
    globs: tuple[str, ...]
    make: Callable[[], str]
    """Returns what it has found; nothing if all is well."""

    def files(self) -> Iterator[Path]:
        """Yield the files that the check reads, and those of the engine that make it."""
        for glob in self.globs:
            yield from sorted(path for path in ROOT.glob(glob) if path.is_file())
        yield from sorted(Path(__file__).parent.glob("*.py"))


def formatted() -> str:
    """Return the files that `terraform fmt` would change."""
    command = (*terraform.find().command, "fmt", "-check", "-recursive", str(terraform.MODULES))
    done = programs.run(command, limits.TOOL, together=True)
    return done.stdout.strip() if done.returncode else ""


def policies() -> str:
    """Return what the policies say of the modules and of the Compose files."""
    verdict = gate.judge([name for name in terraform.modules() if name != "naming"], shadows=True)
    return "\n".join(
        f"{each['subject']}: {each['address']} {each['message']} ({each['policy']}.{each['rule']})"
        for each in verdict.findings
    )


def tflint() -> str:
    """Return what TFLint finds in the modules, with the rulesets of .tflint.hcl."""
    program = shutil.which("tflint") or str(tools.provide(tools.TFLINT) / "tflint")
    config = f"--config={ROOT / 'infra' / '.tflint.hcl'}"
    prepared = programs.run((program, "--init", config), limits.DOWNLOAD, together=True)
    if prepared.returncode:
        raise InfrastructureError(
            f"tflint cannot get its rulesets: {prepared.stdout.strip()}",
            "let the machine reach github.com; GITHUB_TOKEN raises its limit of requests",
        )
    command = (program, "--recursive", config)
    done = programs.run(command, limits.TOOL, cwd=terraform.MODULES, together=True)
    return done.stdout.strip() if done.returncode else ""


def checkov() -> str:
    """Return what Checkov finds; it leaves reports/static/checkov.sarif as well."""
    program = tools.provide(tools.CHECKOV) / "checkov"
    folder = REPORTS / "static"
    folder.mkdir(parents=True, exist_ok=True)
    command = (
        *(str(program), "--config-file", "infra/checkov.yaml", "--directory", "."),
        *("--output", "cli", "--output", "sarif"),
        *("--output-file-path", f"console,{folder / 'checkov.sarif'}"),
    )
    # It would look for news, and for the account of a customer.
    quiet = {**os.environ, "LOG_LEVEL": "ERROR", "CHECKOV_RUN_SCA_PACKAGE_SCAN": "false"}
    done = programs.run(command, limits.TOOL, cwd=ROOT, env=quiet, together=True)
    return done.stdout.strip() if done.returncode else ""


TERRAFORM = ("infra/terraform/**/*",)
CHECKS = {
    each.name: each
    for each in (
        Check("terraform", TERRAFORM, formatted),
        Check("tflint", (*TERRAFORM, "infra/.tflint.hcl"), tflint),
        Check(
            "checkov",
            (*TERRAFORM, "infra/checkov.yaml", "services/*/Dockerfile", ".github/workflows/*"),
            checkov,
        ),
        Check(
            "policies",
            (*TERRAFORM, "infra/policies/**/*", "compose.yaml", "services/*/compose.yaml"),
            policies,
        ),
    )
}


def main() -> int:
    """Make the check that the command line names, and return the exit code."""
    check = CHECKS[sys.argv[1]]
    stamp = PASSED / check.name
    digest = _digest(check)
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return Code.PASSED
    stamp.unlink(missing_ok=True)
    try:
        found = check.make()
    except InfrastructureError as error:
        sys.stdout.write(f"{error.message}: {error.hint}\n")
        return ABSENT
    except StrataError as error:
        sys.stdout.write(f"{error.message}\n")
        return error.code
    if found:
        sys.stdout.write(f"{found}\n")
        return Code.FAILED
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest, encoding="ascii")
    return Code.PASSED


def _digest(check: Check) -> str:
    """Return a digest of the names and contents of the files that a check reads."""
    digest = hashlib.sha256()
    for file in check.files():
        digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
