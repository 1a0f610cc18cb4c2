"""`python -m stratakit.infra CHECK`: one static check of infrastructure, for stratakit.static.

Exits with 75 if the check is absent on this machine, and prints why.
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
    """Format the modules; return the errors of files that cannot be parsed."""
    return _output(*terraform.find().command, "fmt", "-recursive", str(terraform.MODULES))


def policies() -> str:
    """Return the policies' findings in the modules and the Compose files."""
    verdict = gate.judge([name for name in terraform.modules() if name != "naming"], shadows=True)
    return "\n".join(
        f"{each['subject']}: {each['address']} {each['message']} ({each['policy']}.{each['rule']})"
        for each in verdict.findings
    )


def tflint() -> str:
    """Return TFLint's findings in the modules, with the rulesets of .tflint.hcl."""
    program = shutil.which("tflint")
    config = f"--config={ROOT / 'infra' / '.tflint.hcl'}"
    with tools.hourly(tools.TFLINT, program):
        if not program:
            try:
                program = str(tools.provide(tools.TFLINT) / "tflint")
            except AbsentError as error:
                raise AbsentError(f"it is not on PATH, and {error.message}", error.hint) from error
        if said := _output(program, "--init", config):
            raise AbsentError(
                f"tflint cannot download its rulesets: {said}",
                "let the machine reach github.com; GITHUB_TOKEN raises its rate limit",
            )
    return _output(program, f"--chdir={terraform.MODULES}", "--recursive", config)


def checkov() -> str:
    """Return Checkov's findings; it writes reports/checkov.sarif as well."""
    program = tools.provide(tools.CHECKOV) / "checkov"
    REPORTS.mkdir(exist_ok=True)
    # Otherwise it checks for updates, and for a customer's account.
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
"""Checks by name; each returns its findings, empty if there are none."""


def main() -> int:
    """Run the check named on the command line, and return the exit code."""
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
    """Run a program in the project; return its output if it failed, else nothing."""
    env = {**os.environ, "CHECKPOINT_DISABLE": "1", **variables}
    done = programs.run(command, limits.TOOL, cwd=ROOT, env=env, together=True)
    return done.stdout.strip() or f"exit {done.returncode}" if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
