"""Program on the rented machine: runs a service as in production, with its own servers.

`python -m stratakit.cloud.machine --service NAME --folder FOLDER --seconds N` starts the service,
and writes its URL and settings to a file; the settings are generated here and stay secret. It all
stops when told to, or when the time is over, even if it has been forgotten.
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
"""Files of the machine: its state, its log, and the lock that it holds while it lives."""
OUTPUT = "service/output"
"""File with the service's output."""
TAIL = 20
"""Number of lines of output to show after a service has exited."""


def main() -> None:
    """Run a service until its time is over."""
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
    # In a thread, so that it works even while the start of the service hangs.
    timer = threading.Timer(asked.seconds, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        # Not a temporary folder, which would be left behind if this process is killed.
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
