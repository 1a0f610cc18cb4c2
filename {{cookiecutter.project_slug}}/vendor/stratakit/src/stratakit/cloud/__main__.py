"""Command line of the tier cloud: `python -m stratakit.cloud`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import liveness, location, results
from ..errors import Code, StrataError
from . import options, steps

MACHINE = "cloud.json"
"""File beside the results with the machine's data, for the report page."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the steps requested on the command line, and return the exit code."""
    run, file = steps.Run(), None
    liveness.join()
    with run.signals.handled():
        try:
            asked, more = options.parse(words)
            file = more.results
            location.require(Path.cwd())
            steps.take(run, asked, keep=more.skip_teardown)
        except StrataError as error:
            run.fail(error)
        if run.signals.seen:
            name = run.signals.seen[0]
            run.fail(StrataError(f"the run was interrupted by {name}", "run it again"))
        if run.error:
            sys.stderr.write(f"{run.error}\n")
        if file:
            left = {"tests": run.rows, "reason": str(run.error) if run.error else None}
            results.write(file, json.dumps(left))
            if run.machine:
                results.write(file.with_name(MACHINE), json.dumps(run.machine))
    return run.error.code if run.error else Code.PASSED


if __name__ == "__main__":
    sys.exit(main())
