"""`python -m stratakit.infra CHECK`: one static check of infrastructure, for stratakit.static.

Exits with 75 where the check is absent here, and prints why.
"""

import os
import shutil
import sys
from collections.abc import Callable

from .. import limits, programs
from ..errors import AbsentError, Code, StrataError
from ..pyproject import REPORTS, ROOT
from ..static.checks import ABSENT
from . import gate, terraform, tools


def formatted() -> str:
    """Return the files that `terraform fmt` would change."""
    return _output(*terraform.find().command, "fmt", "-check", "-recursive", str(terraform.MODULES))


def fix_format() -> str:
    """Format the modules; return what is wrong with a file that cannot be read."""
    return _output(*terraform.find().command, "fmt", "-recursive", str(terraform.MODULES))


def policies() -> str:
    """Return what the policies say of the modules and of the Compose files."""
    verdict = gate.judge([name for name in terraform.modules() if name != "naming"], shadows=True)
    return "\n".join(
        f"{each['subject']}: {each['address']} {each['message']} ({each['policy']}.{each['rule']})"
        for each in verdict.findings
    )


def tflint() -> str:
    """Return what TFLint finds in the modules, with the rulesets of .tflint.hcl."""
    program = shutil.which("tflint")
    if not program:
        try:
            program = str(tools.provide(tools.TFLINT) / "tflint")
        except AbsentError as error:
            raise AbsentError(f"it is not on PATH, and {error.message}", error.hint) from error
    config = f"--config={ROOT / 'infra' / '.tflint.hcl'}"
    if said := _output(program, "--init", config):
        raise AbsentError(
            f"tflint cannot get its rulesets: {said}",
            "let the machine reach github.com; GITHUB_TOKEN raises its limit of requests",
        )
    return _output(program, f"--chdir={terraform.MODULES}", "--recursive", config)


def checkov() -> str:
    """Return what Checkov finds; it leaves reports/checkov.sarif as well."""
    program = tools.provide(tools.CHECKOV) / "checkov"
    REPORTS.mkdir(exist_ok=True)
    # It would look for news, and for the account of a customer.
    quiet = {"LOG_LEVEL": "ERROR", "CHECKOV_RUN_SCA_PACKAGE_SCAN": "false"}
    return _output(
        *(str(program), "--config-file", "infra/checkov.yaml", "--directory", "."),
        *("--output", "cli", "--output", "sarif"),
        *("--output-file-path", f"console,{REPORTS / 'checkov.sarif'}"),
        **quiet,
    )


CHECKS: dict[str, Callable[[], str]] = {
    "terraform": formatted,
    "terraform-fix": fix_format,
    "tflint": tflint,
    "checkov": checkov,
    "policies": policies,
}
"""What each check finds; nothing if all is well."""


def main() -> int:
    """Make the check that the command line names, and return the exit code."""
    try:
        found = CHECKS[sys.argv[1]]()
    except AbsentError as error:
        sys.stdout.write(f"{error.message}; {error.hint}\n")
        return ABSENT
    except StrataError as error:
        sys.stdout.write(f"{error.message}\n")
        return error.code
    sys.stdout.write(f"{found}\n" if found else "")
    return Code.FAILED if found else Code.PASSED


def _output(*command: str, **variables: str) -> str:
    """Run a program in the project; return what it printed if it failed, else nothing."""
    env = {**os.environ, "CHECKPOINT_DISABLE": "1", **variables}
    done = programs.run(command, limits.TOOL, cwd=ROOT, env=env, together=True)
    return done.stdout.strip() or f"exit {done.returncode}" if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
