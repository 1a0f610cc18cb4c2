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
    from stratakit.tasks import ACTIONS
    from stratakit.tasks.executor import check_command_line
except ImportError as missing:
    # It would come out as a traceback, and with the exit code of a failed test.
    sys.path.insert(0, str(HERE / "vendor" / "stratakit" / "src"))
    from stratakit import environment

    error = environment.incomplete(missing)
    more = "PYTHONPATH=vendor/stratakit/src python3 -m stratakit.doctor"
    sys.stderr.write(f"{error}\n  what else is wrong: {more}\n")
    sys.exit(error.code)

# Actions of your own go here: any task of Invoke, named in the collection beside the engine's.

namespace = Collection(*ACTIONS)
check_command_line(namespace)
