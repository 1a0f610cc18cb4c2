"""Actions of `invoke service.*`: their effects, and refusals that change nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from answers import BAD, GOOD
from baking import BLANK, INFERENCE, PROJECT, Bakery, commit, git, named, needs_git, run
from project import PATIENCE, Change, Changes, Outcome, Project, hide, replace, until, write

pytestmark = [
    pytest.mark.proof(of="services"),
    needs_git,
]

# Not the script, whose launcher needs programs on PATH.
INVOKE = (".venv/bin/python", "-m", "invoke")
ADDED = {"billing": "invoice", "order-history": "line_item"}
TIERS = ("static", "unit", "integration")
LATER = "services/{{cookiecutter.__blank}}/later.txt"
BILLING = ("service.add", "billing", "--resource", "invoice")
RECORD = ".cruft.json"
NOWHERE = "https://localhost:1/nowhere.git"
NAMES = named("Acme Services")
SLUG = NAMES["project_slug"]
DEPENDENT = f"""
[project]
name = "shop"
version = "1"
dependencies = ["{SLUG}-gateway"]

[tool.uv.sources]
{SLUG}-gateway = {{ workspace = true }}

[tool.stratakit.service]
package = "shop"
needs = []
metadata = "shop:none"
"""


class Workshop(Project):
    """A project baked from a checkout of the template, which has a later commit."""

    def invoke(self, *arguments: str, env: Mapping[str, str] | None = None) -> Outcome:
        """Run an action."""
        return self.outcome(*INVOKE, *arguments, env=env)

    def done(self, *arguments: str) -> str:
        """Run an action that must succeed, and return its output."""
        return self.run(*INVOKE, *arguments).stdout

    def left(self) -> tuple[list[str], set[tuple[str, str]]]:
        """Return the state that an undone action must restore.

        Of the lock, only the locked versions: uv also records the index's metadata of each file, and
        an index may include sizes at one time and not at another.
        """
        status, lock = self.state()
        changed = [line for line in status.splitlines() if line.strip() != "M uv.lock"]
        packages = tomllib.loads(lock.decode())["package"]
        return changed, {(each["name"], each["version"]) for each in packages}

    def state(self) -> tuple[str, bytes]:
        """Return the state that a failing action must not change."""
        status = git(self.path, "status", "--short", "--untracked-files=all")
        return status, (self.path / "uv.lock").read_bytes()

    def scratch(self) -> list[Path]:
        """Return the temporary folders of actions."""
        return [*self.path.glob(".nox/scaffold-*")]

    @property
    def template(self) -> str:
        """The recorded template."""
        record: dict[str, Any] = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
        return str(record["template"])


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The project that all tests share; each reverts its changes."""
    return workshop(template, tmp_path_factory.mktemp("services and more"), BLANK)


def workshop(template: Path, folder: Path, answers: Mapping[str, str]) -> Workshop:
    """Bake a project from a checkout of the template, which then gets another commit."""
    checkout = shutil.copytree(template, folder / "strata.git")
    commit(checkout)
    baked = Bakery(checkout, folder / "bakery").into(folder, {**answers, **NAMES})
    (checkout / PROJECT / LATER).write_text("later\n", encoding="utf-8")
    commit(checkout)
    environment = {**baked.environment, "STRATA_SERVERS": "embedded"}
    project = Workshop(baked.path, baked.answers, environment)
    project.run("uv", "lock", "--quiet")
    project.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    commit(project.path)
    return project


@pytest.fixture
def changes(project: Workshop) -> Iterator[Changes]:
    """Changes to the project, reverted after the test, which begins with the committed lock.

    An undone action may have left other sizes in it: see `left`.
    """
    git(project.path, "restore", "uv.lock")
    with Changes(project) as changes:
        yield changes


# Runs seven sessions, of three services.
@pytest.mark.timeout(600)
def test_added_services_pass_their_tiers_and_are_removed_without_a_trace(project: Workshop) -> None:
    before = project.left()
    try:
        for name, resource in ADDED.items():
            project.done("service.add", name, "--resource", resource)
        assert project.scratch() == []
        they_are_of_the_recorded_commit(project)
        they_are_listed(project)
        the_doctor_has_nothing_against_them(project)
        they_pass_their_tiers(project)
        refused = project.invoke("service.remove", "billing", "--yes")
        assert (refused.code, "would be lost: Dockerfile" in refused.output) == (3, True)
    finally:
        for name in ADDED:
            project.done("service.remove", name, "--yes", "--force")
    assert project.left() == before
    assert not list(project.path.glob(".nox/service-[!g]*"))


@pytest.fixture(scope="module")
def example(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A project with the example."""
    return workshop(template, tmp_path_factory.mktemp("example"), INFERENCE)


def test_setup_generates_each_secret_that_a_service_needs_only_once(example: Workshop) -> None:
    assert ".env: copied from .env.example, with 2 fresh secrets" in example.done("setup")
    file = example.path / ".env"
    text = file.read_text(encoding="utf-8")
    made = set(re.findall(r"^GATEWAY_(?:ADMIN_TOKEN|SECRET)=([\w-]{40,})$", text, re.MULTILINE))
    assert len(made) == 2
    assert file.stat().st_mode & 0o077 == 0
    assert ".env: already exists, unchanged" in example.done("setup")
    assert file.read_text(encoding="utf-8") == text


def test_a_service_added_to_the_example_is_a_skeleton_with_passing_tests(
    example: Workshop,
) -> None:
    example.done(*BILLING)
    listed = {each["name"]: each for each in json.loads(example.done("service.list", "--json"))}
    assert {name: each["port"] for name, each in listed.items()} == {
        "gateway": 8000,
        "billing": 8001,
    }
    assert (example.path / "services/billing/src/billing/domain.py").exists()
    outcome = example.nox("-s", "unit(billing)", "static")
    assert outcome.code == 0, outcome.output


def test_an_added_service_has_the_current_python_of_the_project(
    project: Workshop, changes: Changes
) -> None:
    changes.replace("pyproject.toml", 'python = "3.13"', 'python = "3.14"')
    project.done(*BILLING)
    added = project.path / "services/billing"
    try:
        assert "ARG PYTHON=3.14\n" in (added / "Dockerfile").read_text(encoding="utf-8")
    finally:
        project.done("service.remove", "billing", "--yes", "--force")


@pytest.fixture(scope="module")
def pair(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A committed project with the baked service and an added one, in which tests start."""
    project = workshop(template, tmp_path_factory.mktemp("renamed"), BLANK)
    project.done(*BILLING)
    commit(project.path)
    return project


@pytest.fixture
def stored(pair: Workshop) -> Iterator[Workshop]:
    """The pair, both with databases, one with a row and a snapshot; tests may rename and commit."""
    beginning = git(pair.path, "rev-parse", "HEAD")
    pair.run("uv", "sync", "--quiet")
    shutil.copy(pair.path / ".env.example", pair.path / ".env")
    pair.done("db.setup")
    shell = (".venv/bin/invoke", "db.shell", "--service", "gateway")
    row = "INSERT INTO items (name) VALUES ('lamp')"
    run(*shell, cwd=pair.path, env=pair.environment, typed=row)
    pair.done("db.snapshot", "lit", "--service", "gateway")
    yield pair
    pair.done("db.drop", "--database", "all", "--yes")
    pair.done("stack.clean", "--yes")
    git(pair.path, "reset", "--quiet", "--hard", beginning)
    # Caches would otherwise keep the folder of a former name.
    git(pair.path, "clean", "-fdqx", "services")


# Runs seven sessions, of two services.
@pytest.mark.timeout(900)
def test_renamed_services_keep_their_data_and_pass_their_tiers(stored: Workshop) -> None:
    stored.nox("-s", "unit(billing)")
    before = stored.state()
    planned = stored.done("service.rename", "gateway", "front-door", "--dry-run")
    assert stored.state() == before
    moved = re.search(r"(?m)^the database (\w+_)gateway(\w*_dev): \1(front_door)\2$", planned)
    assert moved
    database = f"{moved[1]}front_door{moved[2]}"
    said = stored.done("service.rename", "gateway", "front-door")
    assert {*planned.splitlines()} <= {*said.splitlines()}
    git(stored.path, "add", "--all")
    commit(stored.path)
    stored.done("service.rename", "billing", "ledger")
    assert not [*stored.path.glob(".nox/service-billing*")]
    assert sorted(each.name for each in (stored.path / "services").iterdir()) == [
        "front-door",
        "ledger",
    ]
    found = json.loads(stored.done("db.status", "--json"))
    assert {(each["service"], each["purpose"], each["exists"]) for each in found} == {
        (name, purpose, True) for name in ("front-door", "ledger") for purpose in ("dev", "test")
    }
    (kept,) = [each for each in found if each["rows"].get("items")]
    assert (kept["service"], kept["purpose"], kept["rows"]["items"]) == ("front-door", "dev", 1)
    snapshots = json.loads(stored.done("db.snapshots", "--json"))
    assert [(each["service"], each["label"]) for each in snapshots] == [("front-door", "lit")]
    dotenv = (stored.path / ".env").read_text(encoding="utf-8")
    assert "GATEWAY_" not in dotenv
    assert f"/{database}" in dotenv
    # The record has the new name, so that updates reach the service.
    record = json.loads((stored.path / RECORD).read_text(encoding="utf-8"))
    answers = record["context"]["cookiecutter"]
    assert (answers["service"], answers["__package"]) == ("front-door", "front_door")
    stored.run("uv", "sync", "--quiet")
    outcome = stored.nox("-j", "2", "-s", *TIERS)
    assert outcome.code == 0, outcome.output
    assert stored.invoke("doctor").code == 0


def test_repeating_a_rename_after_a_pull_moves_only_local_databases(stored: Workshop) -> None:
    """Simulate another machine: the names are reverted, and return in git alone."""
    stored.done("service.rename", "billing", "ledger")
    commit(stored.path)
    stored.done("service.rename", "ledger", "billing")
    git(stored.path, "restore", ".")
    git(stored.path, "clean", "-fdq", "services")
    said = stored.done("service.rename", "billing", "ledger")
    assert re.search(r"(?m)^the database \w+_billing\w*_dev: \w+_ledger\w*_dev$", said)
    assert "services/billing" not in said
    assert git(stored.path, "status", "--short") == ""


def they_are_of_the_recorded_commit(project: Workshop) -> None:
    """Check that the later commit was not baked, and the checkout is unchanged."""
    assert not list(project.path.glob("services/*/later.txt"))
    assert git(Path(project.template), "status", "--short") == ""


def the_doctor_has_nothing_against_them(project: Workshop) -> None:
    """Check that the doctor accepts an `.env` to which `db.setup` has not written yet."""
    dotenv = project.path / ".env"
    dotenv.write_text((project.path / ".env.example").read_text(encoding="utf-8"), encoding="utf-8")
    project.run("uv", "sync", "--quiet")
    try:
        outcome = project.invoke("doctor")
        assert outcome.code == 0, outcome.output
        for name in ADDED:
            assert f"{name} gets its URLs from db.setup" in outcome.output
        # The template has another commit by now.
        assert re.search(
            r"template +ok .* at \w{7}, which is at \w{7} now: uvx cruft", outcome.output
        )
        assert "a path on this machine" in outcome.output
    finally:
        dotenv.unlink()


def they_are_listed(project: Workshop) -> None:
    """Check that each has its own name, package and port."""
    listed = {each["name"]: each for each in json.loads(project.done("service.list", "--json"))}
    ports = {name: each["port"] for name, each in listed.items()}
    assert ports == {"gateway": 8000, "billing": 8001, "order-history": 8002}
    assert listed["order-history"]["package"] == "order_history"
    assert listed["billing"]["tests"] == {"unit": True, "integration": True, "load": True}


def they_pass_their_tiers(project: Workshop) -> None:
    """Check that all tiers pass without edits."""
    outcome = project.nox("-j", "2", "-s", *TIERS)
    assert outcome.code == 0, outcome.output
    ran = {(tier["name"], tier["service"]) for tier in outcome.summary["tiers"]}
    packages = ("gateway", *ADDED, "servicebase")
    assert {(tier, each) for tier in TIERS[1:] for each in packages} | {("static", None)} == ran


@dataclass(frozen=True)
class Situation:
    """A refused action, and the reason."""

    name: str
    code: int
    says: str
    arguments: tuple[str, ...] = BILLING
    changes: tuple[Change, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def planted(folder: str, name: str, text: str = "") -> Change:
    """Return a change that writes a file into a new folder."""

    def plant(changes: Changes) -> None:
        changes.hide(folder)
        changes.write(f"{folder}/{name}", text)

    return plant


SITUATIONS = [
    Situation(
        name="the name is taken",
        code=3,
        says="there is a service gateway already",
        arguments=("service.add", "gateway", "--resource", "invoice"),
    ),
    Situation(
        name="the template refuses the names",
        code=3,
        says="service: 'json' cannot be used, because it is a module of Python",
        arguments=("service.add", "json", "--resource", "class"),
    ),
    Situation(
        name="the template refuses names that are close to good ones",
        code=3,
        says="hint: uv run invoke service.add order-history --resource line_item",
        arguments=("service.add", "Order_History", "--resource", "Line-Item"),
    ),
    Situation(
        name="the folder contains another file",
        code=3,
        says="services/billing is there and is not a service: notes.txt",
        changes=(planted("services/billing", "notes.txt"),),
    ),
    Situation(
        name="a library has the package",
        code=3,
        says="libs/money/src/billing already exists",
        changes=(planted("libs/money", "src/billing/__init__.py"),),
    ),
    Situation(
        name="a library has the name",
        code=3,
        says="there is a library billing already, in libs/billing",
        changes=(planted("libs/billing", "pyproject.toml"),),
    ),
    Situation(
        name="the template is not recorded",
        code=3,
        says="there is no .cruft.json",
        changes=(hide(RECORD),),
    ),
    Situation(
        name="the record is broken",
        code=3,
        says="since it is not what a bake has written",
        changes=(write(RECORD, '{"template": 1}'),),
    ),
    Situation(
        name="git is not installed",
        code=2,
        says="git is not installed",
        env={"PATH": "/nonexistent"},
    ),
    Situation(
        name="a folder cannot be created",
        code=2,
        says="a file cannot be written or read, so nothing was changed",
        changes=(hide(".nox"), write(".nox", "")),
    ),
    Situation(
        name="the packages cannot be downloaded",
        code=2,
        says="uv cannot lock the project, so nothing was changed",
        env={"UV_OFFLINE": "1", "UV_NO_CACHE": "1"},
    ),
    Situation(
        name="the dependencies do not go together",
        code=3,
        says="No solution found",
        changes=(replace("vendor/stratakit/pyproject.toml", '"alembic>=1.18"', '"alembic<1"'),),
    ),
    Situation(
        name="there is no service to remove",
        code=3,
        says="there is no service 'bogus'; there are: gateway",
        arguments=("service.remove", "bogus", "--yes"),
    ),
    Situation(
        name="the removal is not confirmed",
        code=3,
        says="pass --yes",
        arguments=("service.remove", "gateway"),
    ),
    Situation(
        name="another service depends on the one to remove",
        code=3,
        says=f"services/shop/pyproject.toml has {SLUG}-gateway among its sources",
        arguments=("service.remove", "gateway", "--yes"),
        changes=(planted("services/shop", "pyproject.toml", DEPENDENT),),
    ),
]


RENAME = ("service.rename", "gateway")
SITUATIONS += [
    Situation(
        name="there is no service to rename",
        code=3,
        says="there is no service 'bogus'; there are: gateway",
        arguments=("service.rename", "bogus", "billing"),
    ),
    Situation(
        name="the new name is the old one",
        code=3,
        says="there is a service gateway already",
        arguments=(*RENAME, "gateway"),
    ),
    Situation(
        name="the new name is a library's",
        code=3,
        says="there is a library servicebase already",
        arguments=(*RENAME, "servicebase"),
    ),
    Situation(
        name="a file that names the service is not committed",
        code=3,
        says="README.md: not committed, so git could not undo the renaming",
        arguments=(*RENAME, "billing"),
        changes=(replace("README.md", "Replace this line", "Edited"),),
    ),
    Situation(
        name="a file of the service is not committed",
        code=3,
        says="services/gateway/new.py: not committed",
        arguments=(*RENAME, "billing"),
        changes=(write("services/gateway/new.py", ""),),
    ),
    Situation(
        name="the renamed project cannot be locked",
        code=2,
        says="uv cannot lock the project, so nothing was changed",
        arguments=(*RENAME, "billing"),
        env={"UV_OFFLINE": "1", "UV_NO_CACHE": "1"},
    ),
]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_a_refused_service_action_gives_the_reason_and_changes_nothing(
    situation: Situation, project: Workshop, changes: Changes
) -> None:
    for change in situation.changes:
        change(changes)
    before = project.state()
    outcome = project.invoke(*situation.arguments, env=situation.env)
    assert outcome.code == situation.code, outcome.output
    assert situation.says in outcome.output
    assert "Traceback" not in outcome.output
    assert project.state() == before
    assert project.scratch() == []


@pytest.mark.parametrize(
    ("where", "says", "hint"),
    [
        ("/nonexistent/strata", "nothing is there", 'write its path or URL as "template"'),
        (NOWHERE, f"the template {NOWHERE} is out of reach", "that address answer"),
    ],
    ids=["path", "URL"],
)
def test_an_unreachable_template_is_an_infrastructure_error_with_a_hint(
    where: str, says: str, hint: str, project: Workshop, changes: Changes
) -> None:
    changes.replace(RECORD, project.template, where)
    before = project.state()
    outcome = project.invoke(*BILLING)
    assert outcome.code == 2, outcome.output
    assert says in outcome.output
    assert hint in outcome.output
    assert project.state() == before


def test_a_recorded_commit_that_the_template_lacks_is_a_configuration_error(
    project: Workshop, changes: Changes
) -> None:
    recorded = git(Path(project.template), "rev-parse", "HEAD~1")
    changes.replace(RECORD, recorded, "0" * 40)
    outcome = project.invoke(*BILLING)
    assert outcome.code == 3, outcome.output
    assert f"has no commit {'0' * 40}" in outcome.output


def test_service_add_uses_cookiecutters_clone_of_a_template_at_a_url(
    project: Workshop, changes: Changes
) -> None:
    settings = json.loads(Path(project.environment["COOKIECUTTER_CONFIG"]).read_text())
    clone = Path(settings["cookiecutters_dir"]) / "elsewhere"
    git(project.path, "clone", "--quiet", project.template, str(clone))
    changes.replace(RECORD, project.template, "https://localhost:1/elsewhere.git")
    before = project.state()
    printed = json.loads(project.done(*BILLING, "--dry-run", "--json"))
    assert "services/billing/pyproject.toml" in printed["files"]
    assert "services/billing/later.txt" not in printed["files"]
    assert project.state() == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_an_interrupted_or_killed_service_add_changes_nothing(
    how: signal.Signals, project: Workshop
) -> None:
    before = project.state()
    with subprocess.Popen(
        [*INVOKE, *BILLING],
        cwd=project.path,
        env={**project.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        until(lambda: any((folder / "baked").exists() for folder in project.scratch()))
        os.killpg(running.pid, how)
        output, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode not in (0, None)
    assert "Traceback" not in output
    assert project.state() == before
    if how == signal.SIGINT:
        assert project.scratch() == []
    for folder in project.scratch():
        shutil.rmtree(folder)


def test_service_remove_drops_databases_and_snapshots_if_a_server_runs(project: Workshop) -> None:
    plan = ("service.remove", "gateway", "--yes")
    assert "database" not in project.done(*plan, "--dry-run")
    project.done("db.setup")
    project.done("db.snapshot", "lit")
    try:
        removed = project.done(*plan)
        # It has the mark of a second checkout if another test has had a project of this name.
        name = rf"{SLUG.replace('-', '_')}_gateway(_[0-9a-f]+)?"
        for said in ("database NAME_dev", "database NAME_test", "snapshot 'lit' of NAME_dev"):
            assert re.search(f"^remove the {said}".replace("NAME", name), removed, re.MULTILINE)
        git(project.path, "restore", ".")
        found = json.loads(project.done("db.status", "--json"))
        assert [each["exists"] for each in found] == [False, False]
        assert project.done("db.snapshots").strip() == "no snapshot"
    finally:
        git(project.path, "restore", ".")
        project.done("stack.down")


ASK = """
import json, sys
from stratakit.errors import ConfigurationError
from stratakit.scaffold.rename import refuse_name

for name in json.load(sys.stdin):
    try:
        refuse_name(name)
    except ConfigurationError:
        print(json.dumps(name))
"""


def test_service_rename_refuses_the_same_names_as_the_template(project: Workshop) -> None:
    bad = [*BAD["service"].values()]
    typed = json.dumps([*bad, *GOOD["service"]])
    command = (".venv/bin/python", "-c", ASK)
    done = run(*command, cwd=project.path, env=project.environment, typed=typed)
    assert [json.loads(line) for line in done.stdout.splitlines()] == bad
