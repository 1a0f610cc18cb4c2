"""The actions: `invoke NOUN.VERB` changes the world, where a nox session asks about it.

`invoke --list` names them all, `invoke --help NOUN.VERB` explains one.
"""

import sys
from functools import partial
from pathlib import Path

from invoke.collection import Collection

HERE = Path(__file__).parent

try:
    from stratakit import location, results

    results.exit_on_error(partial(location.require, HERE))
    from stratakit.tasks import ci, completion, db, doctor, graph, report, service, setup, stack
    from stratakit.tasks.executor import check_command_line
except ImportError as missing:
    # It would come out as a traceback, and with the exit code of a failed test. Where `ops` is not
    # installed, Python took the folder of that name for it.
    sys.modules.pop("ops", None)
    sys.path.insert(0, str(HERE / "vendor" / "stratakit" / "src"))
    from stratakit import environment

    error = environment.incomplete(missing)
    sys.stderr.write(f"{error}\n  what else is wrong: PYTHONPATH=vendor/stratakit/src python3 -m stratakit.doctor\n")
    sys.exit(error.code)

namespace = Collection(
    setup.setup,
    doctor.doctor,
    completion.completion,
    graph.graph,
    db.db,
    service.service,
    stack.stack,
    ci.ci,
    report.report,
)
check_command_line(namespace)
