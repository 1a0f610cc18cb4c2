"""Broken infrastructure is caught by the named check, and correct infrastructure passes.

The variants are in broken_infrastructure.yaml; each is an edit of a file of one bake. As many as
possible are checked at once, since starting the tools takes most of the time.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from baking import Bakery
from project import Project, ready

pytestmark = [pytest.mark.slow, pytest.mark.proof(of="infrastructure")]

TABLE: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
    Path(__file__).with_name("broken_infrastructure.yaml").read_text(encoding="utf-8")
)
SIDES = ("broken", "clean")
MODULES = "infra/terraform"
GATE = """
import json, sys
from pathlib import Path
from stratakit.infra import gate
folder, modules, composed, shadows = json.loads(sys.argv[1])
files = {name: Path(file) for name, file in composed.items()}
print(json.dumps(gate.verdict(modules, files, folder=Path(folder), shadows=shadows).findings))
"""
FIND = """
import json
from stratakit.infra import terraform
print(json.dumps(terraform.find().command))
"""
TERRAFORM = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stratakit.errors import AbsentError, StrataError
from stratakit.infra import terraform
def said(work, name, verb):
    try:
        work.init(name)
    except AbsentError as error:
        return None, error.message
    except StrataError as error:
        return 1, error.message
    done = work.run(name, verb)
    return done.returncode, done.stdout + done.stderr
verb, folder, names = json.loads(sys.argv[1])
with terraform.workspace(Path(folder)) as work, ThreadPoolExecutor(2) as pool:
    print(json.dumps(dict(zip(names, pool.map(lambda name: said(work, name, verb), names)))))
"""


@dataclass(frozen=True)
class Variant:
    """A side of a variant: a file of the project, edited or not."""

    name: str
    side: str
    file: str
    by: str
    place: str = ""
    text: str = "WHAT"
    what: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its name, valid as the name of a Terraform module."""
        return f"{re.sub('[^a-z0-9]+', '-', self.name.lower())}-{self.side}"

    @property
    def cloud(self) -> str:
        """The cloud of its file's Terraform module; empty for other files."""
        return self.file.split("/")[2] if self.file.startswith(MODULES) else ""

    def write(self, project: Project, folder: Path) -> Path:
        """Write it into a folder, with the other files of its module; return the edited file."""
        there = folder / self.key
        source = project.path / self.file
        if self.cloud:
            shutil.copytree(source.parent, there)
        there.mkdir(exist_ok=True)
        text = source.read_text(encoding="utf-8")
        assert self.place in text, f"{self.file} has no {self.place!r}"
        if self.side in self.what:
            new = self.text.replace("WHAT", self.what[self.side])
            text = text.replace(self.place, new) if self.place else text + new
        edited = there / source.name
        edited.write_text(text, encoding="utf-8")
        return edited


def variants(check: str, *, cloud: str | None = None) -> list[Variant]:
    """Return both sides of a check's variants, of one cloud or of all."""
    made = [
        Variant(
            name, side, row["file"], row["by"], row.get("place", ""), row.get("text", "WHAT"), row
        )
        for name, row in TABLE[check].items()
        for side in SIDES
    ]
    return [each for each in made if cloud is None or each.cloud == cloud]


def both_sides(check: str, **of: str) -> pytest.MarkDecorator:
    """Run a test with each side of a check's variants."""
    return pytest.mark.parametrize("variant", variants(check, **of), ids=lambda each: each.key)


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with infrastructure for all clouds."""
    return ready(bake, tmp_path_factory.mktemp("infra"), "Acme Broken", clouds="all")


@pytest.fixture(scope="module")
def ask(project: Project) -> Callable[..., Any]:
    """Run a Python script in the project, with arguments as JSON; return its output, parsed."""
    given = os.environ.get("STRATA_TF_PLUGIN_DIR")
    env = {"STRATA_TF_PLUGIN_DIR": given} if given else {}

    def ask(script: str, *arguments: object) -> Any:
        command = (".venv/bin/python", "-c", script, json.dumps(arguments))
        return json.loads(project.run(*command, env=env).stdout)

    return ask


@pytest.fixture(scope="module")
def written(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write variants into a folder, with the module that all of them use; return the folder."""

    def write(given: list[Variant]) -> Path:
        folder = tmp_path_factory.mktemp("variants")
        shutil.copytree(project.path / MODULES / "naming", folder / "naming")
        for each in given:
            each.write(project, folder)
        return folder

    return write


Found = dict[str, set[str]]
"""Findings in each variant, by its key."""


def judged(ask: Callable[..., Any], folder: Path, given: list[Variant], *, shadows: bool) -> Found:
    """Return the policies' violated rules in each variant."""
    modules = {each.key: each.cloud for each in given if each.cloud}
    composed = {each.key: str(folder / each.key / each.file) for each in given if not each.cloud}
    found: Found = {each.key: set() for each in given}
    for each in ask(GATE, str(folder), modules, composed, shadows):
        found[each["subject"]].add(f"{each['policy']}.{each['rule']}")
    return found


@pytest.fixture(scope="module")
def by_shadows(ask: Callable[..., Any], written: Callable[..., Path]) -> Found:
    """Return the policies' findings without any provider, in Compose files as well."""
    given = variants("policies")
    return judged(ask, written(given), given, shadows=True)


@pytest.fixture(scope="module")
def by_plans(ask: Callable[..., Any], written: Callable[..., Path]) -> Found:
    """Return the policies' findings in plans of the AWS provider."""
    if not os.environ.get("STRATA_TF_PLUGIN_DIR"):
        pytest.skip("needs the provider of AWS: STRATA_TF_PLUGIN_DIR=PATH")  # by_shadows does not.
    given = variants("policies", cloud="aws")
    return judged(ask, written(given), given, shadows=False)


def expect(variant: Variant, found: Found) -> None:
    """Compare the findings in a variant with its defect."""
    wrong = {variant.by} if variant.side == "broken" else set()
    assert found[variant.key] == wrong


@both_sides("policies")
def test_policies_report_only_the_planted_defect_without_a_provider(
    variant: Variant, by_shadows: Found
) -> None:
    expect(variant, by_shadows)


@both_sides("policies", cloud="aws")
def test_policies_report_only_the_planted_defect_in_the_providers_plan(
    variant: Variant, by_plans: Found
) -> None:
    expect(variant, by_plans)


@pytest.fixture(scope="module")
def by_checkov(project: Project, written: Callable[..., Path]) -> Found:
    """Return Checkov's findings, from a single run over all variants."""
    given = variants("checkov")
    folder = written(given)
    install = "from stratakit.infra import tools; print(tools.provide(tools.CHECKOV))"
    programs = project.run(".venv/bin/python", "-c", install).stdout.strip()
    command = (f"{programs}/checkov", "--config-file", "infra/checkov.yaml", "--output", "json")
    said = json.loads(project.run(*command, "--directory", str(folder), check=False).stdout)
    found: Found = {each.key: set() for each in given}
    for kind in said if isinstance(said, list) else [said]:
        for each in kind["results"]["failed_checks"]:
            found[each["file_path"].split("/")[1]].add(each["check_id"])
    return found


@both_sides("checkov")
def test_checkov_reports_only_the_planted_defect(variant: Variant, by_checkov: Found) -> None:
    expect(variant, by_checkov)


PROGRAMS = {
    "hadolint": ("hadolint", "--no-color"),
    "zizmor": ("zizmor", "--offline", "--no-progress"),
    "actionlint": ("jactionlint", "--profile", "correctness"),
}


@pytest.mark.parametrize(
    ("check", "variant"),
    [(check, each) for check in PROGRAMS for each in variants(check)],
    ids=lambda each: each.key if isinstance(each, Variant) else each,
)
def test_a_linter_of_dockerfiles_or_workflows_reports_only_the_broken_file(
    check: str, variant: Variant, project: Project, tmp_path: Path
) -> None:
    program, *words = PROGRAMS[check]
    file = variant.write(project, tmp_path)
    done = project.run(f".nox/static/bin/{program}", *words, str(file), check=False)
    said = done.stdout + done.stderr
    assert (variant.by in said) == (variant.side == "broken"), said
    assert bool(done.returncode) == (variant.side == "broken"), said


@pytest.fixture(scope="module")
def by_terraform(
    ask: Callable[..., Any], written: Callable[..., Path]
) -> Callable[[str, Variant], tuple[int | None, str]]:
    """Return the exit code and output of a Terraform command in a variant."""
    said: dict[str, Any] = {}

    def run(verb: str, variant: Variant) -> tuple[int | None, str]:
        if verb not in said:
            given = variants(verb)
            folder = str(written(given))
            said[verb] = ask(TERRAFORM, verb, folder, [each.key for each in given])
        code, text = said[verb][variant.key]
        return code, text

    return run


@pytest.mark.parametrize(
    ("verb", "variant"),
    [(verb, each) for verb in ("validate", "test") for each in variants(verb)],
    ids=lambda each: each.key if isinstance(each, Variant) else each,
)
def test_terraform_validate_or_test_fails_only_on_the_broken_module(
    verb: str,
    variant: Variant,
    by_terraform: Callable[[str, Variant], tuple[int | None, str]],
) -> None:
    code, said = by_terraform(verb, variant)
    if code is None:
        pytest.skip(said)  # No provider; the tier's summary says ABSENT.
    expected = f'run "{variant.by}"... fail' if verb == "test" else variant.by
    assert (expected in said) == (variant.side == "broken"), said
    assert bool(code) == (variant.side == "broken"), said


def test_terraform_fmt_lists_only_unformatted_files(
    project: Project, ask: Callable[..., Any], written: Callable[..., Path]
) -> None:
    folder = written(variants("fmt"))
    done = project.run(*ask(FIND), "fmt", "-check", "-recursive", str(folder), check=False)
    wanted = {f"{each.key}/{each.by}" for each in variants("fmt") if each.side == "broken"}
    found = {(project.path / line).resolve() for line in done.stdout.split()}
    assert {file.relative_to(folder).as_posix() for file in found} == wanted
