"""Wrapper that stops a program when its caller dies: `tied.py FOLDER PROGRAM ...`.

The caller holds the other end of our standard input. The kernel closes it when the caller dies in
whatever way, or the caller does when it is done. FOLDER is removed then. Standard library only.
"""

import shutil
import subprocess
import sys
import threading

PATIENCE = 5.0
"""Seconds to wait for the program after SIGTERM."""


def main() -> int:
    """Run the program until it exits, and return its exit code."""
    folder, *command = sys.argv[1:]
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    alone = threading.Event()

    def end_with_caller() -> None:
        sys.stdin.read()
        alone.set()
        program.terminate()
        try:
            program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()

    threading.Thread(target=end_with_caller, daemon=True).start()
    code = program.wait()
    # A live caller still needs the folder, for the program's log.
    if alone.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
