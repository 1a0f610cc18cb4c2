"""The actions: `invoke NOUN.VERB` changes the world, where a nox session asks about it.

`invoke --list` names them all, `invoke --help NOUN.VERB` explains one.
"""

import sys
from functools import partial
from pathlib import Path

from invoke.collection import Collection

HERE = Path(__file__).parent
ENGINE = HERE / "vendor" / "stratakit" / "src"

try:
    from stratakit import location, results

    results.exit_on_error(partial(location.require, HERE))
    from stratakit.tasks import ACTIONS
    from stratakit.tasks.executor import check_command_line
except ImportError as missing:
    # It would come out as a traceback, and with the exit code of a failed test. The engine, whose
    # words these are, may itself be what is missing.
    sys.stderr.write(
        f"infrastructure: the environment of {sys.executable} is incomplete: {missing}\n"
        "  hint: uv sync --all-packages --all-groups --reinstall\n"
    )
    if ENGINE.is_dir():
        source = ENGINE.relative_to(HERE).as_posix()
        sys.stderr.write(f"  what else is wrong: PYTHONPATH={source} python3 -m stratakit.doctor\n")
    sys.exit(2)

# Actions of your own go here: any task of Invoke, named in the collection beside the engine's.

namespace = Collection(*ACTIONS)
check_command_line(namespace)
