"""A fake of GitHub's runner with what a project's workflows need: steps, outputs, artifacts."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from baking import Bake

EXPRESSION = re.compile(r"\$\{\{ (.*?) \}\}")
Scope = Mapping[str, Any]
HAS = {
    "github.token": "a token",
    "toJSON(vars)": "{}",
    "hashFiles('compose.yaml')": "a hash",
    **dict.fromkeys(
        ("secrets.CODECOV_TOKEN", "secrets.CLOUD_TOKEN", "secrets.NOTIFY_WEBHOOK_URL"), ""
    ),
}
"""Expressions known in every repository; an unset secret is empty."""


@dataclass(frozen=True)
class Done:
    """Results of a job."""

    result: str
    outputs: dict[str, str]
    summary: str
    said: str


@dataclass(frozen=True)
class Runner:
    """Runs the jobs of a workflow, each with the project as its checkout."""

    project: Bake
    workflow: Mapping[str, Any]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """Additional variables of this machine; they override those of the workflow."""

    def job(self, name: str, scope: Scope | None = None) -> Done:
        """Run a job. `scope` has the values of its expressions; a missing one is an error."""
        job, known = self.workflow["jobs"][name], {**HAS, **(scope or {})}
        summary = self.folder / "summary"
        summary.write_text("", encoding="utf-8")
        said: list[str] = []
        env = {**self.workflow.get("env", {}), **job.get("env", {})}
        failed = self._steps(job["steps"], known, env, said)
        outputs = {} if failed else job.get("outputs", {})
        return Done(
            "failure" if failed else "success",
            {output: _filled(value, known) for output, value in outputs.items()},
            summary.read_text(encoding="utf-8"),
            "".join(said),
        )

    def _steps(
        self,
        steps: Sequence[Mapping[str, Any]],
        known: dict[str, Any],
        env: Mapping[str, Any],
        said: list[str],
    ) -> bool:
        """Run steps; return whether one fails.

        Their outputs are added to `known`, and what they print to `said`.
        """
        failed = False
        for step in steps:
            if not _holds(step.get("if", "success()"), known, failed=failed):
                continue
            set_ = {
                key: _filled(str(value), known)
                for key, value in {**env, **step.get("env", {})}.items()
            }
            if "uses" in step:
                failed = self._use(step, known, set_, said) or failed
                continue
            outputs = self.folder / "outputs"
            outputs.write_text("", encoding="utf-8")
            environment = {
                **set_,
                "GITHUB_OUTPUT": str(outputs),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
                **self.env,
            }
            done = self.project.run("bash", "-e", "-c", step["run"], env=environment, check=False)
            said.append(f"$ {step['run']}\n{done.stdout}{done.stderr}")
            failed = failed or done.returncode != 0
            for line in outputs.read_text(encoding="utf-8").splitlines():
                output, _, value = line.partition("=")
                known[f"steps.{step['id']}.outputs.{output}"] = value
        return failed

    def _use(
        self,
        step: Mapping[str, Any],
        scope: Scope,
        env: Mapping[str, Any],
        said: list[str],
    ) -> bool:
        """Do what an action does, as far as later jobs depend on it; return whether it fails."""
        action = step["uses"].partition("@")[0]
        given = {key: _filled(str(value), scope) for key, value in step.get("with", {}).items()}
        if action.startswith("$/"):
            text = (self.project.path / action[2:] / "action.yml").read_text(encoding="utf-8")
            known: dict[str, Any] = dict(HAS)
            composite = yaml.safe_load(text)
            for name, each in composite["inputs"].items():
                value = given[name] if each.get("required") else given.get(name, each["default"])
                known[f"inputs.{name}"] = _filled(value, known)
            return self._steps(composite["runs"]["steps"], known, env, said)
        if action == "actions/upload-artifact":
            artifact = self.folder / "artifacts" / given["name"]
            first, *more = [self.project.path / each for each in given["path"].split("\n") if each]
            if more:
                artifact.mkdir(parents=True)
            # Several paths keep their names in the artifact.
            for path in (first, *more):
                shutil.move(path, artifact / path.name if more else artifact)
        if action == "actions/download-artifact":
            for artifact in (self.folder / "artifacts").glob(given["pattern"]):
                path = self.project.path / given["path"]
                shutil.copytree(artifact, path, dirs_exist_ok=True)
        return False


def _filled(text: str, scope: Scope) -> str:
    return EXPRESSION.sub(lambda found: _text(scope[found[1]]), text)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _holds(condition: str, scope: Scope, *, failed: bool) -> bool:
    """Return whether the condition of a step holds."""
    if "cancelled()" in condition or condition == "always()":
        return True
    if condition == "failure()":
        return failed
    name, sign, wanted = condition.partition(" != " if " != " in condition else " == ")
    equal = str(scope[name]) == wanted.strip("'") if sign else bool(scope.get(name, True))
    return equal is not (sign == " != ") and not failed
