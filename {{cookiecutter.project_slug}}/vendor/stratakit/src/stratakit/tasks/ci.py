"""`invoke ci.*`: jobs of the workflows, and notifications of red ones.

Tiers that run by default are checked on every change, in test.yml; the others at night, in
nightly.yml. Changes to infrastructure also run its checks that need neither Docker nor a cloud.
Workflows do not list tiers or services: they ask for them at run time.
"""

import json
import os
from math import ceil
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from invoke.collection import Collection
from invoke.context import Context

from .. import limits, programs, tiers
from ..cloud.providers import FREE
from ..errors import AbsentError, ConfigurationError, InfrastructureError
from ..git import GitError, git
from ..project import Package, folders, packages_of, services
from ..pyproject import ROOT
from ..pyproject import table as settings
from ..runner import MEASURE
from ..tiers import CLOUD, INFRASTRUCTURE, INTEGRATION, UNIT, Tier
from . import console
from .executor import task

SETUP = 10 * 60
"""Seconds that CI adds for a cold cache, pulling images and uploading reports."""
SLOWER = 2
"""Factor by which a shared runner may be slower than a developer's machine."""
UNBUDGETED = 30 * 60
"""Seconds for a tier that has no budget."""
MODULES = ROOT / "infra" / "terraform"
TOUCHED = ("infra", "tests/infrastructure")
"""Folders whose changes trigger tests of the modules, on mocks of their providers."""


def _require(*parts: str) -> tuple[str, ...]:
    return tuple(word for part in parts for word in ("--require", part))


WORDS = {
    # Data for the job that checks the coverage of both.
    UNIT: MEASURE,
    INTEGRATION: MEASURE,
    # Optional on a developer's machine, required in CI.
    INFRASTRUCTURE: _require("docker", *(("terraform", "providers") if MODULES.is_dir() else ())),
    **({"static": _require("terraform", "tflint", "checkov")} if MODULES.is_dir() else {}),
    # No account is needed; cloud.yml uses one.
    CLOUD: ("--cloud", FREE),
}
"""Options that CI passes to a tier after `--`."""
ON_MOCKS = ("-m", "terraform", *_require("terraform", "providers"))
"""Options for the tier infrastructure on a change that touches it."""


@task(positional=["workflow"], help={"workflow": "test or nightly"})
def matrix(_: Context, workflow: Literal["test", "nightly"]) -> None:
    """Print the jobs of a workflow as outputs of a GitHub step, NAME=VALUE."""
    python = settings().get("python")
    if not isinstance(python, str):
        raise ConfigurationError(
            "[tool.stratakit] in pyproject.toml does not say which Python CI and the images have",
            'write it, for example: python = "3.13"',
        )
    jobs, absent = _jobs(nightly=workflow == "nightly")
    images = [each.name for each in services() if (each.path / "Dockerfile").exists()]
    console.say(
        f"jobs={json.dumps(jobs)}\nimages={json.dumps(images)}\npython={python}\n"
        f"absent={'; '.join(absent) or 'nothing'}"
    )


def _jobs(*, nightly: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the jobs of a workflow, and a reason for each tier that has no job."""
    jobs: list[dict[str, Any]] = []
    absent: list[str] = []
    for tier in tiers.load():
        if tier.default is nightly:
            if tier.name == INFRASTRUCTURE and not nightly and _infrastructure_changed():
                jobs.append(_job(tier, tier.name, ON_MOCKS))
            continue
        # A tier without packages still gets a job, which reports what is missing.
        for package in packages_of(tier) or (None,):
            session = f"{tier.name}({package.name})" if package else tier.name
            reason = None if tier.default else _absence(tier, package)
            if reason:
                absent.append(f"{session}: {reason}")
            else:
                jobs.append(_job(tier, session, WORDS.get(tier.name, ())))
    return jobs, absent


def _job(tier: Tier, session: str, words: tuple[str, ...]) -> dict[str, Any]:
    """Return a job as an entry of the workflow's matrix.

    `session` is the nox session, `words` its arguments after `--`, `minutes` the timeout, `stack`
    whether a running stack is needed, and `images` whether Docker images are.
    """
    seconds = SETUP + (SLOWER * tier.budget if tier.budget else UNBUDGETED)
    return {
        "session": session,
        "words": " ".join(words),
        "minutes": ceil(seconds / 60),
        "stack": tier.requires("stack"),
        "images": tier.requires("docker"),
    }


def _infrastructure_changed() -> bool:
    """Return whether the commit that is checked out touches infrastructure; True if unknown."""
    if not MODULES.is_dir():
        return False
    try:
        return bool(git(ROOT, "diff", "--name-only", "HEAD^1", "HEAD", "--", *TOUCHED).strip())
    except (GitError, InfrastructureError):
        return True


def _absence(tier: Tier, package: Package | None) -> str | None:
    """Return why a tier has no tests; None if it has some."""
    try:
        folders(tier, package)
    except AbsentError as error:
        return error.message
    return None


TITLE = "The {} run is red"
"""Title by which the issue of a workflow is found again."""


@task(
    positional=["results"],
    help={
        "results": "results of the jobs, as GitHub calls them: success, failure ...",
        "issue": "keep one issue: open or comment on it when red, close it when green",
    },
)
def notify(_: Context, results: str, *, issue: bool = False) -> None:
    """Report a red workflow to people: by the webhook in NOTIFY_WEBHOOK_URL, by an issue."""
    red = "failure" in results.split()
    if not red and "cancelled" in results.split():
        console.say("cancelled: nothing to report")
        return
    run = _run_url()
    workflow = os.environ.get("GITHUB_WORKFLOW", "CI")
    line = f"{workflow} is {'red' if red else 'green'}: {run}"
    if issue:
        _keep_issue(TITLE.format(workflow), line, red=red)
    webhook = os.environ.get("NOTIFY_WEBHOOK_URL")
    if red and webhook:
        _post(webhook, line)
    console.say(line)


def _run_url() -> str:
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    values = [os.environ.get(name, "") for name in names]
    if "" in values:
        raise ConfigurationError(
            f"{names[values.index('')]} is not set: ci.notify is for a GitHub workflow",
            "uv run nox",
        )
    server, repository, run = values
    return f"{server}/{repository}/actions/runs/{run}"


def _keep_issue(title: str, line: str, *, red: bool) -> None:
    """Open, comment on, or close the issue with this title."""
    listed = _gh("list", "--state", "open", "--limit", "500", "--json", "number,title")
    numbers = [str(each["number"]) for each in json.loads(listed) if each["title"] == title]
    if red and numbers:
        _gh("comment", min(numbers, key=int), "--body", line)
    elif red:
        _gh("create", "--title", title, "--body", line)
    else:
        for number in numbers:
            _gh("close", number, "--comment", line)


def _gh(*words: str) -> str:
    try:
        done = programs.run(("gh", "issue", *words), cwd=ROOT)
    except FileNotFoundError as error:
        raise InfrastructureError(
            "gh is not on PATH, and issues are kept with it", "see cli.github.com"
        ) from error
    if done.returncode:
        raise InfrastructureError(
            f"gh issue {words[0]} fails: {done.stderr.strip()}",
            "give the job the permission issues: write, and GH_TOKEN",
        )
    return done.stdout


def _post(webhook: str, line: str) -> None:
    """Post a line to Slack or Discord; the webhook is a secret and is never printed."""
    try:
        url = urlsplit(webhook)
        # Each rejects the other's key; only Discord has this path.
        body = {"content" if url.path.startswith("/api/webhooks/") else "text": line}
        headers = {"Content-Type": "application/json", "User-Agent": "stratakit"}
        request = Request(webhook, json.dumps(body).encode(), headers)  # noqa: S310 - a secret's
        urlopen(request, timeout=limits.CONNECT).close()  # noqa: S310 - as above
    except (OSError, ValueError) as error:
        said = str(error).replace(webhook, "NOTIFY_WEBHOOK_URL")
        raise InfrastructureError(
            f"the webhook in NOTIFY_WEBHOOK_URL does not take the message: {said}",
            "make a new one in Slack or Discord, and update the secret of the repository",
        ) from error


ci = Collection("ci", matrix, notify)
