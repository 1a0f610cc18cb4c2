"""What runs on the machine: a service as in production, with servers of its own beside it.

`python -m stratakit.cloud.machine --service NAME --folder FOLDER --seconds N` starts it, and writes
down where it answers and with which settings, which are made up here and known to nobody else. All
of it ends when it is told to, or when the time is over, whoever has forgotten it.
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from .. import project, results
from ..errors import StrataError
from ..load import target

NOTE, LOG, LOCK = "machine.json", "machine.log", "machine.lock"
"""What is known of the machine, what it prints, and what it holds as long as it lives."""
OUTPUT = "service/output"
"""What the service prints."""
TAIL = 20
"""Lines of what was printed that are shown when a service has ended."""


def main() -> None:
    """Run a service until the end of its time."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--service", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args()
    note, over = asked.folder / NOTE, threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    known = {"pid": os.getpid()}
    results.write(note, json.dumps(known))
    # By a thread, so that it ends even while something starts that does not return.
    timer = threading.Timer(asked.seconds, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        # Not among temporary files, which stay where a process is killed.
        scratch = (asked.folder / OUTPUT).parent
        scratch.mkdir()
        with target.own(project.service(asked.service), scratch) as running:
            answering = {"url": running.url, "settings": running.variables}
            results.write(note, json.dumps({**known, **answering}))
            over.wait()
    except StrataError as error:
        said = {"code": error.code, "message": error.message, "hint": error.hint}
        results.write(note, json.dumps({**known, "error": said}))
        sys.exit(error.code)


if __name__ == "__main__":
    main()
