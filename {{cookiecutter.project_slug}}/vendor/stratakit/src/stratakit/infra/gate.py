"""Policy checks of the plans of each cloud's module, and of the Compose files."""

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
            "secret_key": "none",  # pragma: allowlist secret
            "region": "eu-central-1",
            "skip_credentials_validation": True,
            "skip_metadata_api_check": True,
            "skip_requesting_account_id": True,
        }
    },
    "gcp": {"google": {"access_token": "none", "project": "none"}},  # pragma: allowlist secret
    "hetzner": {"hcloud": {"token": "0" * 64}},
}
"""Provider configurations for plans that need no account."""
SHADOW = "shadow"
"""Name of a plan without providers, in place of a cloud's name."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Findings of the policies, and the modules that were planned without providers."""

    findings: list[dict[str, str]]
    shadows: tuple[str, ...]
    """Modules checked only by a shadow, since their provider cannot be fetched."""


def judge(clouds: Sequence[str], *, shadows: bool | None = None) -> Verdict:
    """Check the modules of clouds and the project's Compose files; see `verdict`."""
    named = {file.relative_to(ROOT).as_posix(): file for file in compose_files()}
    return verdict({cloud: cloud for cloud in clouds}, named, shadows=shadows)


def verdict(
    modules: Mapping[str, str],
    composed: Mapping[str, Path],
    *,
    folder: Path = terraform.MODULES,
    shadows: bool | None = None,
) -> Verdict:
    """Check modules and Compose files; Terraform plans all modules of a cloud at once.

    Args:
        modules: the cloud of each module, by the name of its folder.
        composed: Compose files, by their name in findings.
        folder: the folder of the modules.
        shadows: whether to plan without providers; by default only if one cannot be fetched.

    Raises:
        AbsentError: a tool cannot be installed.
        StrataError: a module cannot be planned, or a rule contradicts its fixtures.
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
            "the policies contradict their fixtures:\n" + "\n".join(answer["unproved"]),
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
    """Return each module's normalized plan, and the modules that were planned as shadows."""
    values = _ask(programs_of / "python", "shadow.py", work.folder, *modules)

    def plan(cloud: str, names: Sequence[str]) -> dict[str, Any]:
        """Plan modules as children of one root module."""
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
        """Plan the modules of a cloud with its provider; return nothing if that is absent."""
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
    """Run a script in the environment of the policies, and return its JSON output."""
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
