"""The subjects of the policies: a plan of each cloud's module, and the Compose files."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import limits
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
            "region": "eu-central-1",
            "skip_credentials_validation": True,
            "skip_metadata_api_check": True,
            "skip_requesting_account_id": True,
        }
    },
    "gcp": {"google": {"access_token": "none", "project": "none"}},
    "hetzner": {"hcloud": {"token": "0" * 64}},
}
"""How providers are configured for a plan that asks no account anything."""
SHADOW = "shadow"
"""Of a plan for which no provider is needed: in the place of a cloud's name."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies say, and of which plans they say it."""

    findings: list[dict[str, str]]
    shadows: tuple[str, ...]
    """The modules of which there is a shadow alone, since the provider cannot be had."""


def judge(clouds: Sequence[str], *, shadows: bool | None = None) -> Verdict:
    """Judge the modules of clouds, and the project's Compose files; see `verdict`."""
    named = {file.relative_to(ROOT).as_posix(): file for file in compose_files()}
    return verdict({cloud: cloud for cloud in clouds}, named, shadows=shadows)


def verdict(
    modules: Mapping[str, str],
    composed: Mapping[str, Path],
    *,
    folder: Path = terraform.MODULES,
    shadows: bool | None = None,
) -> Verdict:
    """Judge modules and Compose files; Terraform plans all modules of a cloud at once.

    Args:
        modules: the cloud of each module, by the name of its folder.
        composed: Compose files, by the name that findings call them.
        folder: where the modules are.
        shadows: whether to plan without providers; by default where one cannot be had.

    Raises:
        AbsentError: a tool cannot be had.
        StrataError: a module cannot be planned, or a rule does not do what its fixtures say.
    """
    programs_of = tools.provide(tools.POLICIES)
    subjects = [_subject(name, ("compose",), str(file)) for name, file in composed.items()]
    without: tuple[str, ...] = ()
    if modules:
        with terraform.workspace(folder) as work:
            planned, without = _plans(work, modules, programs_of, shadows=shadows)
        subjects += [_subject(name, OF_PLANS, planned[name]) for name in modules]
    answer = _ask(programs_of / "python", "policies.py", POLICIES, given=subjects)
    if answer["unproved"]:
        raise StrataError(
            "the policies do not do what their fixtures say:\n" + "\n".join(answer["unproved"]),
            "correct the rule or its fixture in infra/policies",
        )
    return Verdict(answer["findings"], without)


def compose_files() -> list[Path]:
    """Return the project's Compose files."""
    return [
        file for glob in ("compose.yaml", "services/*/compose.yaml") for file in ROOT.glob(glob)
    ]


def _subject(name: str, policies: Sequence[str], given: object) -> dict[str, object]:
    return {"name": name, "policies": list(policies), "input": given}


def _plans(
    work: terraform.Workspace,
    modules: Mapping[str, str],
    programs_of: Path,
    *,
    shadows: bool | None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the form of each module's plan, and the modules of which it is that of a shadow."""
    values = _ask(programs_of / "python", "shadow.py", work.folder, *modules)

    def plan(cloud: str, names: Sequence[str]) -> dict[str, Any]:
        """Plan modules as parts of one."""
        root, ending = f"plan-{cloud}", f"-{SHADOW}" if cloud == SHADOW else ""
        calls = {
            name: {"source": f"../{name}{ending}", **work.arguments, **values[name]}
            for name in names
        }
        work.write(root, {"module": calls})
        if cloud in WITHOUT_ACCOUNT:
            work.configure(root, **WITHOUT_ACCOUNT[cloud])
        work.init(root)
        planned = work.plan(root)
        return {name: form(planned, name, modules[name]) for name in names}

    def attempt(cloud: str) -> dict[str, Any]:
        """Plan the modules of a cloud with its provider; none of them where that is not here."""
        try:
            return plan(cloud, [name for name in modules if modules[name] == cloud])
        except AbsentError:
            if shadows is False:
                raise
            return {}

    found: dict[str, Any] = {}
    if not shadows:
        with ThreadPoolExecutor() as pool:
            for forms in pool.map(attempt, dict.fromkeys(modules.values())):
                found |= forms
    without = tuple(name for name in modules if name not in found)
    return found | (plan(SHADOW, without) if without else {}), without


def _ask(python: Path, script: str, *words: object, given: object = None) -> Any:
    """Return what a script of ours answers, in the environment of the policies."""
    done = subprocess.run(
        (str(python), str(Path(__file__).with_name(script)), *map(str, words)),
        input=json.dumps(given),
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
