"""A project with a name of its own, and so with servers that tests may kill.

Its commands are forked from one process that has imported everything: starting Python for each of
some hundred kills would take minutes.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psutil

from stratakit import project, pyproject
from stratakit.servers import binaries
from stratakit.servers.waiting import until

FORKING_PARENT = """
import json, os, sys, traceback
import alembic.autogenerate, alembic.command, invoke.main, pytest, redis, sqlalchemy.orm
import stratakit.tasks.db, stratakit.tasks.stack, stratakit.servers.embedded, stratakit.testing.resources
from stratakit.database import status

for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    for number, name in enumerate((os.devnull, order["out"], order["err"])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdin = open(os.devnull)
    os.environ.update(order["env"])
    sys.argv = order["argv"]
    code = 1
    try:
        exec(order["code"], {"__name__": "scratch"})
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
"""
WITHOUT_DATABASE = ("db.gc", "db.revision")
"""Actions that are not about a single database."""
INVOKE = "from invoke.main import program; program.run()"
PYTEST = """
import os, sys
# Anew: pytest rewrites the assertions of modules as it imports them.
os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:]])
"""


def program(file: Path, source: str) -> None:
    """Write a program that runs Python source with this interpreter."""
    script = file.with_suffix(".py")
    script.write_text(source, encoding="utf-8")
    # `#!` with the interpreter would fail if its path contains a space.
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
    file.chmod(0o755)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output: JSON and nothing else."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """Everything that it printed."""
        return self.out + self.err


class Command:
    """A running command."""

    def __init__(self, project: "Scratch", pid: int, out: Path, err: Path) -> None:
        """Follow the process `pid`, which prints into the files `out` and `err`."""
        self._project, self.pid, self._out, self._err = project, pid, out, err

    def wait(self) -> Outcome:
        """Wait for its end."""
        code = self._project.order({"wait": self.pid})
        return Outcome(code, self._out.read_text(), self._err.read_text())


class Scratch:
    """A copy of the project, under a name of its own."""

    def __init__(
        self,
        folder: Path,
        name: str | None = None,
        prefix: tuple[str, ...] = (),
        **environment: str,
    ) -> None:
        """Copy the project that the tests run in into `folder`; `prefix` runs its commands."""
        self.name = name or f"scratch{secrets.token_hex(3)}"
        self.purpose = "test"
        self.root = folder / "project"
        self.service = project.services()[0]
        self._folder = folder
        self._count = iter(range(100_000))
        self._copy()
        sources = [
            self.root / "vendor/stratakit/src",
            self.root / "services" / self.service.name / "src",
        ]
        outer = {
            name: value for name, value in os.environ.items() if not name.startswith("STRATA_")
        }
        self.environment = {
            **outer,
            "STRATA_SERVERS": "embedded",
            "PYTHONPATH": os.pathsep.join(map(str, sources)),
            **environment,
        }
        self._parent = subprocess.Popen(
            [*prefix, sys.executable, "-c", FORKING_PARENT],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def database(self) -> str:
        """Name of the service's database that actions are about."""
        return f"{self.name}_{self.service.name.replace('-', '_')}_{self.purpose}"

    @property
    def _which(self) -> tuple[str, str]:
        return "--database", self.purpose

    @property
    def migrations(self) -> Path:
        """Folder of its migrations."""
        return self.root / "services" / self.service.name / "migrations" / "versions"

    @property
    def tests(self) -> Path:
        """Folder of its integration tests."""
        folder = self.root / "services" / self.service.name / "tests" / "integration"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def start(self, code: str, *arguments: str, **environment: str) -> Command:
        """Start a piece of Python with arguments; actions on databases get `--database`."""
        if arguments and arguments[0].startswith("db") and arguments[0] not in WITHOUT_DATABASE:
            arguments = (*arguments, *(() if "--database" in arguments else self._which))
        number = next(self._count)
        out, err = self._folder / f"{number}.out", self._folder / f"{number}.err"
        told = {"code": code, "argv": ["invoke", *arguments], "env": environment}
        return Command(self, self.order({**told, "out": str(out), "err": str(err)}), out, err)

    def python(self, code: str, **environment: str) -> Outcome:
        """Run a piece of Python."""
        return self.start(code, **environment).wait()

    def invoke(self, *arguments: str, **environment: str) -> Outcome:
        """Run an action."""
        return self.start(INVOKE, *arguments, **environment).wait()

    def pytest(self, *arguments: str, **environment: str) -> Outcome:
        """Run tests."""
        return self.start(PYTEST, *arguments, **environment).wait()

    def green(self, *arguments: str, **environment: str) -> Outcome:
        """Run an action that has to pass."""
        outcome = self.invoke(*arguments, **environment)
        assert outcome.code == 0, outcome.said
        return outcome

    def status(self, **environment: str) -> dict[str, Any]:
        """Return the state of its database."""
        found: dict[str, Any] = self.green("db.status", "--json", **environment).json[0]
        return found

    def order(self, told: dict[str, Any]) -> int:
        """Send an order to the forking process; return its answer."""
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.write(json.dumps(told) + "\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    @cached_property
    def cache(self) -> Path:
        """Folder of its servers."""
        outcome = self.python("from stratakit.servers import home; print(home.cache())")
        return Path(outcome.out.strip())

    @cached_property
    def data(self) -> Path:
        """Folder of the data of `dev`."""
        outcome = self.python("from stratakit.servers import home; print(home.data())")
        return Path(outcome.out.strip())

    def processes(self) -> list[int]:
        """Return the processes of its servers, supervisors included."""
        return [
            each.pid
            for each in psutil.process_iter(["cmdline"])
            for folder in (self.cache, self.data)
            if str(folder) in " ".join(each.info["cmdline"] or ())
        ]

    def down(self) -> None:
        """Stop its servers, and wait until they are gone."""
        self.green("stack.down")

        def gone() -> None:
            assert not self.processes()

        until(gone, 20)

    def __enter__(self) -> Self:
        """Return the project."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove its leftovers from the machine."""
        self.down()
        shutil.rmtree(self.cache)
        shutil.rmtree(self.data)
        self.close()

    def close(self) -> None:
        """End the forking process."""
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.close()
        self._parent.wait()
        self._parent.stdout.close()

    def _copy(self) -> None:
        leave_out = shutil.ignore_patterns(".venv", "tests", "reports")
        for name in ("pyproject.toml", "tasks.py", "invoke.yaml"):
            shutil.copy2(pyproject.ROOT / name, self._made(self.root / name))
        for folder in (Path("vendor"), self.service.path.relative_to(pyproject.ROOT)):
            shutil.copytree(pyproject.ROOT / folder, self.root / folder, ignore=leave_out)
        # Without this, each copy would download PostgreSQL's package.
        binaries.installation("postgres")
        (self.root / ".nox").mkdir()
        for fetched in (pyproject.ROOT / ".nox").glob("tool-postgres-*"):
            (self.root / ".nox" / fetched.name).symlink_to(fetched)
        settings = self.root / "pyproject.toml"
        line = f'project = "{self.name}"'
        settings.write_text(re.sub(r'(?m)^project = ".*"$', line, settings.read_text()))

    def configure(self, line: str) -> None:
        """Add a line to the [tool.stratakit] table; call it before the first command."""
        settings = self.root / "pyproject.toml"
        settings.write_text(
            settings.read_text().replace("[tool.stratakit]\n", f"[tool.stratakit]\n{line}\n", 1)
        )

    @staticmethod
    def _made(file: Path) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file
