"""GitHub's runner, as far as the workflows of a project need it: steps, outputs, artifacts."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baking import Bake

EXPRESSION = re.compile(r"\$\{\{ (.*?) \}\}")
Scope = Mapping[str, Any]


@dataclass(frozen=True)
class Done:
    """What came of a job."""

    result: str
    outputs: dict[str, str]
    summary: str
    said: str


@dataclass(frozen=True)
class Runner:
    """Runs the jobs of a workflow in a project that stands for the checkout of each."""

    project: Bake
    workflow: Mapping[str, Any]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """What this machine has that GitHub's has not; it wins over what the workflow sets."""

    def job(self, name: str, scope: Scope | None = None) -> Done:
        """Run a job. `scope` says what its expressions stand for; one that it lacks is an error."""
        job, known = self.workflow["jobs"][name], {"github.token": "a token", **(scope or {})}
        summary = self.folder / "summary"
        summary.write_text("", encoding="utf-8")
        said: list[str] = []
        failed = False
        for step in job["steps"]:
            if not _holds(step.get("if", "success()"), known, failed=failed):
                continue
            if "uses" in step:
                self._use(step, known)
                continue
            outputs = self.folder / "outputs"
            outputs.write_text("", encoding="utf-8")
            set_ = {**self.workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}
            env = {
                **{key: _filled(value, known) for key, value in set_.items()},
                "GITHUB_OUTPUT": str(outputs),
                "GITHUB_STEP_SUMMARY": str(summary),
                **self.env,
            }
            done = self.project.run("bash", "-e", "-c", step["run"], env=env, check=False)
            said.append(f"$ {step['run']}\n{done.stdout}{done.stderr}")
            failed = failed or done.returncode != 0
            for line in outputs.read_text(encoding="utf-8").splitlines():
                output, _, value = line.partition("=")
                known[f"steps.{step['id']}.outputs.{output}"] = value
        outputs_ = {} if failed else job.get("outputs", {})
        return Done(
            "failure" if failed else "success",
            {output: _filled(value, known) for output, value in outputs_.items()},
            summary.read_text(encoding="utf-8"),
            "".join(said),
        )

    def _use(self, step: Mapping[str, Any], scope: Scope) -> None:
        """Do what an action does, where a later job can tell."""
        action = step["uses"].partition("@")[0]
        if not action.endswith("-artifact"):
            return
        given = {key: _filled(str(value), scope) for key, value in step.get("with", {}).items()}
        if action == "actions/upload-artifact":
            path = self.project.path / given["path"]
            shutil.move(path, self.folder / "artifacts" / given["name"])
        if action == "actions/download-artifact":
            for artifact in (self.folder / "artifacts").glob(given["pattern"]):
                path = self.project.path / given["path"]
                shutil.copytree(artifact, path, dirs_exist_ok=True)


def _filled(text: str, scope: Scope) -> str:
    return EXPRESSION.sub(lambda found: str(scope[found[1]]), text)


def _holds(condition: str, scope: Scope, *, failed: bool) -> bool:
    """Return whether a step is run."""
    if "cancelled()" in condition:
        return True
    name, _, wanted = condition.partition(" == ")
    met = str(scope[name]) == wanted.strip("'") if wanted else scope.get(name, True)
    return bool(met) and not failed
