"""Run a program that ends with its caller, and remove a folder then: `tied.py FOLDER PROGRAM ...`.

The caller holds the other end of our standard input. The kernel closes it when the caller dies,
however that is; a caller that is done closes it. Standard library only.
"""

import shutil
import subprocess
import sys
import threading

PATIENCE = 5.0
"""Seconds that the program has to end by itself."""


def main() -> int:
    """Run the program to its end, and return its exit code."""
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
    # A caller that is there reads why the program ended, in its log.
    if alone.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
