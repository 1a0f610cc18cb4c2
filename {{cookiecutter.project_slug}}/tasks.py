"""The actions: `invoke NOUN.VERB` changes something, such as a database, a stack or a service.

`invoke --list` lists them, `invoke --help NOUN.VERB` explains one.
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
    # Otherwise this is a traceback, with the exit code of a failed test. The message repeats the
    # engine's because the engine itself may be missing.
    sys.stderr.write(
        f"infrastructure: the environment of {sys.executable} is incomplete: {missing}\n"
        "  hint: uv sync --all-packages --all-groups --reinstall\n"
    )
    if ENGINE.is_dir():
        source = ENGINE.relative_to(HERE).as_posix()
        sys.stderr.write(f"  what else is wrong: PYTHONPATH={source} python3 -m stratakit.doctor\n")
    sys.exit(2)

# Add actions of your own here: any Invoke task, added to the collection beside the engine's.

namespace = Collection(*ACTIONS)
check_command_line(namespace)
