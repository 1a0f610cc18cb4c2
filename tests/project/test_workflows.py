"""The workflows of a project: their security, and their commands, run for real."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from baking import Bake, Bakery, commit, is_rendered
from project import (
    ABSENT_TESTS,
    ABSENT_TIER,
    Change,
    Changes,
    Project,
    add_absent_tier,
    has_images,
    hide,
    ready,
    replace,
    write,
)
from runner import EXPRESSION, Done, Runner

proof = pytest.mark.proof(of="workflows")

NAMES = ("test", "nightly", "cloud")
ACTIONS = "vendor/stratakit/actions"
LOGIN = f"{ACTIONS}/credentials"
FOLDER = ".github/workflows"
each_workflow = pytest.mark.parametrize("name", NAMES)
Workflow = dict[str, Any]
WEEKDAYS = "0 4 * * 1-6"
"""Schedule that rents no machine, and only terminates leftovers."""

PASSING = "def test_it_passes() -> None:\n    assert True\n"
FAILING = "def test_it_fails() -> None:\n    assert 'a<b' == 'c|d'\n"
PLANTED = "tests/infrastructure/test_planted.py"


def read(bake: Bake, name: str) -> Workflow:
    """Return a workflow."""
    text = (bake.path / FOLDER / f"{name}.yml").read_text(encoding="utf-8")
    # YAML 1.1 parses `on` as a boolean.
    workflow: Workflow = yaml.safe_load(re.sub("^on:", "'on':", text, flags=re.MULTILINE))
    return workflow


def steps(workflow: Workflow) -> Iterator[dict[str, Any]]:
    """Yield the steps of all jobs."""
    for job in workflow["jobs"].values():
        yield from job["steps"]


def checkouts(
    bake: Bake, steps: list[dict[str, Any]], given: Mapping[str, str] = {}
) -> Iterator[dict[str, Any]]:
    """Yield the steps that check out the code, including those in the engine's actions.

    `given` are the inputs of an action, one of which may disable its checkout.
    """
    for step in steps:
        action = step.get("uses", "")
        if action.startswith("$/"):
            composite = yaml.safe_load((bake.path / action[2:] / "action.yml").read_text("utf-8"))
            inputs = composite.get("inputs", {}).items()
            defaults = {name: each.get("default") for name, each in inputs}
            known = {**defaults, **step.get("with", {})}
            yield from checkouts(bake, composite["runs"]["steps"], known)
        elif "actions/checkout@" in action:
            switch = re.fullmatch(r"inputs\.(\w+) == 'true'", step.get("if", ""))
            if not switch or given[switch[1]] == "true":
                yield step


def test_a_project_has_three_workflows_copied_verbatim(bake: Bakery) -> None:
    assert {file.stem for file in (bake().path / FOLDER).iterdir()} == set(NAMES)
    assert not is_rendered(f"{FOLDER}/test.yml")


@each_workflow
def test_a_job_has_only_needed_permissions_and_persists_no_credentials(
    bake: Bakery, name: str
) -> None:
    workflow = read(bake(), name)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        checkout = [*checkouts(bake(), job["steps"])]
        keeps_issue = any("--issue" in each.get("run", "") for each in job["steps"])
        logs_in = any(each.get("uses") == f"$/{LOGIN}" for each in job["steps"])
        # The environment decides who may use the account.
        assert logs_in is (job.get("environment") == "cloud")
        assert job.get("permissions", {}) == {
            **({"contents": "read"} if checkout else {}),
            **({"issues": "write"} if keeps_issue else {}),
            **({"id-token": "write"} if logs_in else {}),
        }
        assert all(each["with"]["persist-credentials"] is False for each in checkout)


@each_workflow
def test_a_job_checks_out_the_code_at_most_once_and_unconditionally(
    bake: Bakery, name: str
) -> None:
    for job in read(bake(), name)["jobs"].values():
        found = [*checkouts(bake(), job["steps"])]
        assert len(found) == ("contents" in job.get("permissions", {}))
        assert not any("hashFiles" in each.get("if", "") for each in found)


def test_each_action_is_pinned_to_a_single_digest_with_its_version(
    bake: Bakery,
) -> None:
    pins: dict[str, set[str]] = {}
    project = bake().path
    for file in (*project.glob(f"{FOLDER}/*.yml"), *project.glob(f"{ACTIONS}/*/action.yml")):
        text = file.read_text(encoding="utf-8")
        for action, pin in re.findall(r"uses: (?!\$/)([^@\n]+)@?(.*)", text):
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), action
            pins.setdefault(action, set()).add(pin)
    assert pins
    assert [action for action, found in pins.items() if len(found) > 1] == []


@each_workflow
def test_no_command_of_a_workflow_contains_an_expression(bake: Bakery, name: str) -> None:
    actions = [
        yaml.safe_load(file.read_text(encoding="utf-8"))["runs"]
        for file in bake().path.glob(f"{ACTIONS}/*/action.yml")
    ]
    for step in (*steps(read(bake(), name)), *(each for one in actions for each in one["steps"])):
        assert not EXPRESSION.search(step.get("run", "")), step


@each_workflow
def test_every_job_has_a_time_limit(bake: Bakery, name: str) -> None:
    for job in read(bake(), name)["jobs"].values():
        assert job["timeout-minutes"] in (5, 10, 20, 90, "${{ matrix.minutes }}")


def test_changes_trigger_test_yml_and_schedules_the_other_workflows(bake: Bakery) -> None:
    assert read(bake(), "test")["on"] == {
        "push": {"branches": ["main"]},
        "pull_request": None,
        "merge_group": None,
    }
    nightly = {"schedule": [{"cron": "0 2 * * *"}], "workflow_dispatch": None}
    assert read(bake(), "nightly")["on"] == nightly
    weekly = {"schedule": [{"cron": "0 4 * * 0"}, {"cron": WEEKDAYS}], "workflow_dispatch": None}
    assert read(bake(), "cloud")["on"] == weekly


def test_only_runs_of_a_pull_request_are_cancelled(bake: Bakery) -> None:
    test, nightly, cloud = (read(bake(), name)["concurrency"] for name in NAMES)
    # Every other run has its own group, with nothing to cancel.
    assert test["cancel-in-progress"] is True
    assert test["group"].endswith("-${{ github.event.pull_request.number || github.run_id }}")
    assert nightly["cancel-in-progress"] is cloud["cancel-in-progress"] is False


def test_the_gate_always_runs_and_waits_for_every_other_job(bake: Bakery) -> None:
    jobs = read(bake(), "test")["jobs"]
    assert jobs["gate"]["if"] == "always()"
    assert sorted(jobs["gate"]["needs"]) == sorted(jobs.keys() - {"gate", "notify"})


def test_main_and_scheduled_runs_notify_but_pull_requests_do_not(bake: Bakery) -> None:
    day, *nights = (read(bake(), name)["jobs"] for name in NAMES)
    assert day["notify"]["if"] == "failure() && github.event_name == 'push'"
    assert day["notify"]["needs"] == ["gate"]
    for jobs, condition in zip(
        nights, ("!cancelled()", "!cancelled() && vars.CLOUDS"), strict=True
    ):
        assert jobs["notify"]["if"] == f"${{{{ {condition} }}}}"
        assert sorted(jobs["notify"]["needs"]) == sorted(jobs.keys() - {"notify"})


def test_machines_are_rented_only_in_configured_clouds_and_are_always_reaped(
    bake: Bakery,
) -> None:
    machines = read(bake(), "cloud")["jobs"]["machines"]
    assert machines["if"] == "vars.CLOUDS"
    assert machines["strategy"]["matrix"] == {"cloud": "${{ fromJSON(vars.CLOUDS) }}"}
    _, login, rent, reap = machines["steps"]
    assert login["uses"] == f"$/{LOGIN}"
    assert rent["if"] == f"github.event.schedule != '{WEEKDAYS}'"
    assert reap["if"] == "always()"
    assert "cloud.reap" in reap["run"]


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A locked project for the available Python."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = tmp_path_factory.mktemp("workflows with ä space")
    project = ready(bake, folder, "Acme Flows", python=python)
    # The changes of a commit are determined from its parent.
    project.run("git", "init", "--quiet")
    commit(project.path)
    project.run("git", "commit", "--quiet", "--allow-empty", "--message", "Nothing")
    return project


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes that are reverted after the test."""
    with Changes(project) as changes:
        yield changes


@pytest.fixture
def day(project: Project, tmp_path: Path) -> Runner:
    """Runs jobs of test.yml."""
    return runner(project, "test", tmp_path / "day")


@pytest.fixture
def night(project: Project, tmp_path: Path) -> Runner:
    """Runs jobs of nightly.yml."""
    return runner(project, "nightly", tmp_path / "night")


@proof
def test_a_fresh_bake_passes_all_of_test_yml(day: Runner) -> None:
    plan, jobs = planned(day)
    packages = ("gateway", "servicebase")
    parts = [f"{tier}({package})" for tier in ("unit", "integration") for package in packages]
    assert [job["matrix.session"] for job in jobs] == ["static", *parts]
    # Only the checks of workflows: other tests run the whole tier, which takes long.
    jobs[0]["matrix.words"] += " --only workflows --only zizmor --only actionlint"
    done = {
        "plan": plan,
        **{job["matrix.session"]: day.job("tier", job) for job in jobs},
        "coverage": day.job("coverage", scope(plan)),
    }
    for name, each in done.items():
        assert each.result == "success", each.said
        assert name == "plan" or name.partition("(")[0] in each.summary
    assert "| unit | gateway | passed |" in done["unit(gateway)"].summary
    assert "ABSENT" not in done["static"].summary
    assert json.loads(plan.outputs["images"]) == ["gateway"]
    results = " ".join(each.result for each in done.values())
    assert gate(day, results).result == "success"


@proof
def test_a_change_of_infrastructure_adds_a_job_of_its_terraform_tests(
    project: Project, day: Runner
) -> None:
    def changed(file: str) -> dict[str, Any] | None:
        (project.path / file).write_text("changed\n", encoding="utf-8")
        project.run("git", "add", file)
        project.run("git", "commit", "--quiet", "--no-verify", "--message", "A change")
        try:
            _, jobs = planned(day)
        finally:
            project.run("git", "reset", "--quiet", "--hard", "HEAD^")
        return next((job for job in jobs if job["matrix.session"] == "infrastructure"), None)

    assert changed("README.md") is None
    for file in ("infra/terraform/naming/main.tf", "tests/infrastructure/test_new.py"):
        job = changed(file)
        assert job
        words = job["matrix.words"].split()
        assert words == "-m terraform --require terraform --require providers".split()


@proof
def test_a_failure_is_named_in_the_summary_and_fails_the_gate(
    day: Runner, changes: Changes
) -> None:
    changes.write("services/gateway/tests/unit/test_planted.py", FAILING)
    _, jobs = planned(day)
    (unit,) = [job for job in jobs if job["matrix.session"] == "unit(gateway)"]
    unit["matrix.words"] += " -k planted"
    done = day.job("tier", unit)
    assert done.result == "failure"
    assert "| unit | gateway | failed |" in done.summary
    assert "unit(gateway): services/gateway/tests/unit/test_planted.py" in done.summary
    assert "&#x27;a&lt;b&#x27; == &#x27;c|d&#x27;" in done.summary
    assert list((day.folder / "artifacts").glob("reports-unit*/unit/gateway/junit.xml"))
    for result in ("failure", "cancelled", "skipped"):
        assert gate(day, f"success {result} success").result == "failure"


@proof
def test_a_stale_lock_fails_the_plan_with_a_hint_and_is_not_changed(
    project: Project, day: Runner, changes: Changes
) -> None:
    lock = (project.path / "uv.lock").read_bytes()
    changes.replace("vendor/stratakit/pyproject.toml", '"alembic>=1.18"', '"alembic>=1.17"')
    done = day.job("plan")
    assert done.result == "failure"
    assert "uv lock" in done.said
    assert (project.path / "uv.lock").read_bytes() == lock


@proof
def test_the_image_job_runs_the_command_in_the_dockerfile(project: Project, day: Runner) -> None:
    done = day.job("image", {"matrix.service": "gateway"})
    dockerfile = (project.path / "services" / "gateway" / "Dockerfile").read_text("utf-8")
    (said,) = re.findall(r"^#   docker (.*)$", dockerfile, re.MULTILINE)
    assert done.said.splitlines()[-1] == f"docker {said}"


@proof
def test_the_nightly_plan_has_the_optional_tiers_and_reports_absent_ones(
    night: Runner, changes: Changes
) -> None:
    add_absent_tier(changes)
    plan, jobs = planned(night)
    assert plan.result == "success", plan.said
    assert [job["matrix.session"] for job in jobs] == ["infrastructure", "load(gateway)", "cloud"]
    assert not jobs[1]["matrix.stack"]
    for part in ("docker", "terraform", "providers"):
        assert f"--require {part}" in jobs[0]["matrix.words"]
    assert night.workflow["jobs"]["tier"]["if"] == "needs.plan.outputs.jobs != '[]'"
    # A rehearsal, since the job has no account.
    assert jobs[2]["matrix.words"] == "--cloud local"
    assert f"ABSENT {ABSENT_TIER}: there is no tier" in plan.summary


@proof
def test_the_nightly_infrastructure_job_runs_its_tests(night: Runner, changes: Changes) -> None:
    changes.write(PLANTED, PASSING)
    plan, (infrastructure, _, _) = planned(night)
    assert "ABSENT nothing" in plan.summary
    infrastructure["matrix.words"] += " -k planted"
    done = night.job("tier", infrastructure)
    assert done.result == "success", done.said
    assert "| infrastructure | - | passed | 1 |" in done.summary


@proof
def test_the_weekly_smoke_takes_five_steps_and_leaves_no_machine(
    project: Project, changes: Changes, tmp_path: Path
) -> None:
    weekly = runner(project, "cloud", tmp_path / "week")
    sunday, weekday = (
        {"matrix.cloud": "local", "github.event.schedule": when} for when in ("0 4 * * 0", WEEKDAYS)
    )
    done = weekly.job("machines", sunday)
    assert done.result == "success", done.said
    assert "| cloud | - | passed | 5 |" in done.summary
    assert "no machine was left" in done.said
    changes.replace("services/gateway/tests/smoke.py", "def smoke(", "def smok(")
    broken = weekly.job("machines", sunday)
    assert broken.result == "failure"
    assert "no machine was left" in broken.said
    idle = weekly.job("machines", weekday)
    assert idle.result == "success", idle.said
    assert "no machine was left" in idle.said
    assert not idle.summary


@proof
def test_each_tier_is_in_one_workflow_with_a_time_limit_above_its_budget(
    project: Project, day: Runner, night: Runner, changes: Changes
) -> None:
    changes.write(PLANTED, PASSING)
    add_absent_tier(changes)
    changes.write(ABSENT_TESTS, PASSING)
    graph = json.loads(project.run("uv", "run", "invoke", "graph", "--format", "json").stdout)
    jobs = [job for runner in (day, night) for job in planned(runner)[1]]
    sessions = [job["matrix.session"] for job in jobs]
    assert len({*sessions}) == len(sessions)
    tiers = {tier["name"]: tier for tier in graph["tiers"]}
    named = [session.partition("(")[0] for session in sessions]
    assert list(dict.fromkeys(named)) == list(tiers)
    for name, job in zip(named, jobs, strict=True):
        assert job["matrix.minutes"] * 60 >= (tiers[name]["budget_seconds"] or 0) + 10 * 60
        needs_stack = "stack" in {each["name"] for each in tiers[name]["needs"]}
        assert job["matrix.stack"] is needs_stack


@dataclass(frozen=True)
class Refusal:
    """A request of CI that is refused, and the reason."""

    name: str
    asked: tuple[str, ...]
    code: int
    says: str
    change: Change


REFUSALS = [
    Refusal(
        name="there was no run",
        asked=("report.show",),
        code=2,
        says="hint: uv run nox",
        change=hide("reports"),
    ),
    Refusal(
        name="the summary is invalid",
        asked=("report.show",),
        code=3,
        says="reports/summary.json cannot be read",
        change=write("reports/summary.json", "{"),
    ),
    Refusal(
        name="there is no such workflow",
        asked=("ci.matrix", "weekly"),
        code=3,
        says="Input should be 'test' or 'nightly'",
        change=write("notes.md", ""),
    ),
    Refusal(
        name="the Python version is not set",
        asked=("ci.matrix", "test"),
        code=3,
        says='hint: write it, for example: python = "3.13"',
        change=replace("pyproject.toml", "\npython = ", "\n#python = "),
    ),
]


@proof
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_a_refused_request_of_ci_has_the_expected_code_and_message(
    refusal: Refusal, project: Project, changes: Changes
) -> None:
    refusal.change(changes)
    done = project.run("uv", "run", "invoke", *refusal.asked, check=False)
    assert done.returncode == refusal.code, done.stderr
    assert refusal.says in done.stderr


def runner(project: Project, name: str, folder: Path) -> Runner:
    """Return a runner of a workflow, on a machine with the programs of GitHub's or stand-ins."""
    (folder / "artifacts").mkdir(parents=True)
    programs = {
        # A stand-in: builds and pulls would download images and packages.
        "docker": 'echo docker "$@"',
    }
    for program, body in programs.items():
        file = folder / "bin" / program
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        file.chmod(0o755)
    path = os.pathsep.join([str(folder / "bin"), project.environment["PATH"]])
    servers = {} if has_images() else {"STRATA_SERVERS": "embedded"}
    return Runner(project, read(project, name), folder, {"PATH": path, **servers})


def scope(plan: Done) -> dict[str, Any]:
    """Return the outputs of the plan, by their names in other jobs."""
    return {f"needs.plan.outputs.{name}": value for name, value in plan.outputs.items()}


def planned(runner: Runner) -> tuple[Done, list[dict[str, Any]]]:
    """Run the job `plan`; return its result, and the scope of each job of the matrix."""
    plan = runner.job("plan")
    jobs = json.loads(plan.outputs.get("jobs", "[]"))
    return plan, [
        {**scope(plan), **{f"matrix.{key}": value for key, value in job.items()}} for job in jobs
    ]


def gate(runner: Runner, results: str) -> Done:
    """Run the job `gate` on the results of the others."""
    return runner.job("gate", {"join(needs.*.result, ' ')": results})
