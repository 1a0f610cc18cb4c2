"""The subjects of the policies: a plan of each cloud's module, and the Compose files."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import limits, programs
from ..errors import AbsentError, StrataError
from ..pyproject import ROOT
from . import terraform, tools
from .normal import form

POLICIES = ROOT / "infra" / "policies"
OF_PLANS = ("security", "cost")
WITHOUT_ACCOUNT: dict[str, dict[str, dict[str, object]]] = {
    "aws": {
        "aws": {
            "access_key": "none",
            "secret_key": "none",
            "region": "${var.region}",
            "skip_credentials_validation": True,
            "skip_metadata_api_check": True,
            "skip_requesting_account_id": True,
        }
    },
    "gcp": {"google": {"access_token": "none", "project": "none"}},
    "hetzner": {"hcloud": {"token": "0" * 64}},
}
"""How providers are configured for a plan that asks no account anything."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies say, and of which plans they say it."""

    findings: list[dict[str, str]]
    shadows: tuple[str, ...]
    """The clouds of which there is a shadow alone, since the provider cannot be had."""


def judge(clouds: Sequence[str], *, shadows: bool | None = None) -> Verdict:
    """Judge the modules of clouds, and the Compose files.

    Args:
        clouds: names of modules.
        shadows: whether to plan without providers; by default where one cannot be had.

    Raises:
        AbsentError: a tool cannot be had.
        StrataError: a module cannot be planned, or a rule does not do what its fixtures say.
    """
    folder = tools.provide(tools.POLICIES)
    subjects: list[dict[str, object]] = []
    without: list[str] = []
    if clouds:
        with terraform.workspace() as work:
            for cloud in clouds:
                plan, real = _plan(work, cloud, folder, shadows=shadows)
                without += [] if real else [cloud]
                subjects.append(_subject(cloud, OF_PLANS, form(plan, cloud)))
    for file in compose_files():
        name = file.relative_to(ROOT).as_posix()
        subjects.append(_subject(name, ("compose",), str(file)))
    answer = _ask(folder, subjects)
    if answer["unproved"]:
        raise StrataError(
            "the policies do not do what their fixtures say:\n" + "\n".join(answer["unproved"]),
            "correct the rule or its fixture in infra/policies",
        )
    return Verdict(answer["findings"], tuple(without))


def compose_files() -> list[Path]:
    """Return the project's Compose files."""
    return [
        file for glob in ("compose.yaml", "services/*/compose.yaml") for file in ROOT.glob(glob)
    ]


def _subject(name: str, policies: Sequence[str], given: object) -> dict[str, object]:
    return {"name": name, "policies": list(policies), "input": given}


def _plan(
    work: terraform.Workspace, cloud: str, folder: Path, *, shadows: bool | None
) -> tuple[dict[str, Any], bool]:
    """Return the plan of a module with its dev.tfvars, and whether it is a real one."""
    values = "-var-file=dev.tfvars"
    if not shadows:
        try:
            work.configure(cloud, **WITHOUT_ACCOUNT.get(cloud, {}))
            work.init(cloud)
            return work.plan(cloud, values), True
        except AbsentError:
            if shadows is False:
                raise
    name = f"{cloud}-shadow"
    target = work.folder / name
    target.mkdir()
    shutil.copy(work.folder / cloud / "dev.tfvars", target)
    script = Path(__file__).with_name("shadow.py")
    command = (str(folder / "python"), str(script), str(work.folder / cloud), str(target))
    done = programs.run(command, limits.COMMAND)
    if done.returncode:
        raise StrataError(f"infra/terraform/{cloud} cannot be read: {done.stderr.strip()}")
    work.init(name)
    return work.plan(name, values), False


def _ask(folder: Path, subjects: Sequence[object]) -> Any:
    """Return what `policies.py` answers."""
    script = Path(__file__).with_name("policies.py")
    done = subprocess.run(
        (str(folder / "python"), str(script), str(POLICIES)),
        input=json.dumps(subjects),
        capture_output=True,
        text=True,
        timeout=limits.COMMAND,
        check=False,
    )
    if done.returncode:
        raise StrataError(
            f"the policies cannot be evaluated: {done.stderr.strip()}", "correct the file it names"
        )
    return json.loads(done.stdout)
