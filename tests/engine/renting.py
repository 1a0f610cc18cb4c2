"""A project whose tests launch machines, and code that ends a run at a given moment."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil

from .scratch import Command, Outcome, Scratch

RUN = """
import sys
from stratakit.cloud.__main__ import main
sys.exit(main(["--results", *sys.argv[1:]]))
"""
# A moment is the first call, or the first return, of a function of the tier.
MOMENTS = """
import os, signal, sys
from stratakit.cloud.__main__ import main

at, number, seen, begun = int(os.environ["AT"]), int(os.environ["SIGNAL"]), set(), False

def watch(frame, event, argument):
    global begun
    code = frame.f_code
    begun = begun or code.co_name == "_rent"
    if not begun or "/stratakit/cloud/" not in code.co_filename or (code, event) in seen:
        return
    if event in ("call", "return"):
        seen.add((code, event))
        if len(seen) == at:
            os.kill(os.getpid(), number)
    if (code.co_name, event) == ("take", "return"):
        sys.setprofile(None)

sys.setprofile(watch)
code = main(["--results", *sys.argv[1:]])
sys.setprofile(None)
print("MOMENTS", len(seen))
sys.exit(code)
"""
SMOKE = """
import urllib.request

def smoke(url, settings):
    assert urllib.request.urlopen(url + "/health/live").status == {status}
"""


class Project(Scratch):
    """A project with leases of its own, whose service has a smoke request."""

    def run(self, *words: str, code: str = RUN, **environment: str) -> Outcome:
        return self.begin(*words, code=code, **environment).wait()

    def begin(self, *words: str, code: str = RUN, **environment: str) -> Command:
        self.results.unlink(missing_ok=True)
        return self.start(code, str(self.results), *words, **environment)

    def start(self, code: str, *arguments: str, **environment: str) -> Command:
        """Start code with a folder of leases that no other project uses."""
        if "stratakit.cloud" in code or "".join(arguments[:1]).startswith("cloud."):
            environment |= {"XDG_DATA_HOME": str(self.root.parent / "share")}
        return super().start(code, *arguments, **environment)

    @property
    def results(self) -> Path:
        return self.root.parent / "results.json"

    @property
    def rows(self) -> dict[str, str]:
        """Outcome of each step."""
        left: dict[str, Any] = json.loads(self.results.read_text())
        return {row["name"]: row["status"] for row in left["tests"]}

    @property
    def leases(self) -> Path:
        return self.root.parent / "share" / self.name / "cloud"

    def expect_none_launched(self, done: Outcome) -> None:
        """Check that a run since `cleared` has tried to launch no machine."""
        # The report has a line for each step that was begun.
        begun = [line.split()[0] for line in done.out.splitlines()]
        assert begun in ([], ["credentials"]), done.said
        # A machine needs a lease, whose parent folder would stay.
        assert not self.leases.exists()

    def moments(self) -> int:
        """Return the number of moments in a run."""
        whole = self.run(code=MOMENTS, AT="-1", SIGNAL="0")
        assert whole.code == 0, whole.said
        return int(whole.out.rpartition("MOMENTS ")[2])

    def smoke(self, status: int = 200) -> None:
        # Each file differs in size: Python's cache compares only the size and the second.
        text = SMOKE.format(status=status) + "\n" * next(self._count)
        (self.root / "services/gateway/tests/smoke.py").write_text(text)

    def machines(self) -> list[str]:
        """Return the commands of the machines that run."""
        found = []
        for each in psutil.process_iter(["cmdline"]):
            command = " ".join(each.info["cmdline"] or ())
            if "stratakit.cloud.machine" in command and str(self.leases) in command:
                found.append(command)
        return found

    def expect_nothing_left(self) -> None:
        assert list(self.leases.glob("*")) == []
        assert self.machines() == []

    @contextmanager
    def cleared(self) -> Iterator[Self]:
        """Provide a smoke request that passes, and give back what a failed test has left."""
        self.smoke()
        yield self
        for each in self.leases.glob("*"):
            self.invoke("cloud.down", "--lease", each.name)
        shutil.rmtree(self.leases, ignore_errors=True)


@contextmanager
def renting(folder: Path) -> Iterator[Project]:
    """Make a project with leases of its own, and remove its leftovers."""
    with Project(folder) as project:
        (project.root / "services/gateway/tests").mkdir(exist_ok=True)
        yield project
