"""The template's own repository: its workflows run what its README says, and each proof."""

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import baking
import pytest
import yaml
from baking import PROJECT, ROOT
from documents import Document
from sampling import SHARE, choose, shuffle

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
README = Document(ROOT / "README.md")
CLIENTS = ROOT / "tests" / "clients"
EXAMPLE = ROOT / PROJECT / "services" / "{{cookiecutter.__inference}}"


def jobs(name: str) -> dict[str, Any]:
    """Return the jobs of a workflow."""
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return found


@pytest.mark.parametrize(("number", "job"), [(0, "newcomer"), (1, "tests")])
def test_a_ci_job_runs_a_command_of_the_readme_verbatim(number: int, job: str) -> None:
    console = next(block for block in README.blocks if block.commands)
    ran = [step.get("run", "").strip() for step in jobs("test.yml")[job]["steps"]]
    assert console.commands[number] in ran


def test_the_gate_waits_for_every_other_job() -> None:
    named = jobs("test.yml")
    assert set(named["gate"]["needs"]) == set(named) - {"gate"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_has_no_permissions_by_default(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}


def test_the_newcomer_job_runs_on_every_python_of_the_sessions() -> None:
    source = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    pythons = jobs("test.yml")["newcomer"]["strategy"]["matrix"]["python"]
    assert f"PYTHONS = {pythons}".replace("'", '"') in source


@pytest.fixture(scope="module")
def sessions() -> set[str]:
    """Sessions of the template."""
    command = (sys.executable, "-m", "nox", "--list")
    listed = baking.run(*command, cwd=ROOT, env=baking.clean_environment()).stdout
    return set(re.findall(r"^[*-] (\S+)", listed, re.MULTILINE))


def proofs(sessions: set[str]) -> set[str]:
    """Return the sessions that are proofs."""
    return {each for each in sessions if each.startswith("proof(")}


def test_the_nightly_workflow_runs_every_proof(sessions: set[str]) -> None:
    named = set(jobs("nightly.yml")["session"]["strategy"]["matrix"]["session"])
    others = {each.partition("-")[0].partition("(")[0] for each in sessions}
    assert named <= sessions | others
    assert proofs(sessions) <= named


def test_each_proof_marker_has_a_session_and_each_proof_session_has_tests(
    sessions: set[str],
) -> None:
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py")]
    named = {each for text in texts for each in re.findall(r'mark\.proof\(of="([\w-]+)"\)', text)}
    engine = {"proof(engine-docker)", "proof(engine-embedded)"}
    assert {f"proof({each})" for each in named} == proofs(sessions) - engine


def test_the_table_of_proofs_names_their_files_and_the_share_of_a_sample() -> None:
    text = (ROOT / "docs" / "maintaining.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([\w-]+)` \| .* \| (.*) \|$", text, re.MULTILINE))
    for file in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r'mark\.proof\(of="([\w-]+)"\)', file.read_text(encoding="utf-8")):
            named = (file.name in table[name], f"{file.parent.name}/`" in table[name])
            assert any(named), f"{name}: {file.name}"
    assert SHARE == 10
    assert "run one test in ten" in text


def test_the_same_seed_samples_the_same_tests_and_another_seed_others() -> None:
    ids = [str(number) for number in range(2 * SHARE + 1)]
    first = choose("a", ids)
    assert (len(first), set(first) <= set(ids)) == (3, True)
    assert choose("a", ids[::-1]) == first
    assert {*map(tuple, (choose(seed, ids) for seed in "bcd"))} != {tuple(first)}
    assert choose("a", ["alone"]) == ["alone"]


def test_a_seed_shuffles_each_module_and_keeps_its_order_for_a_subset() -> None:
    ids = [f"{module}::{number}" for module in ("z", "a") for number in range(20)]
    order = shuffle("a", ids)
    assert (sorted(order), [each[0] for each in order]) == (sorted(ids), ["z"] * 20 + ["a"] * 20)
    assert order[:20] != ids[:20]
    assert [each[2:] for each in order[:20]] != [each[2:] for each in order[20:]]
    assert shuffle("a", ids[::3]) == [each for each in order if each in ids[::3]]
    assert shuffle("b", ids) != order


PLANTED = """
import pytest

@pytest.fixture(scope="module", params=[1, 2])
def dear(request):
    return request.param

@pytest.mark.parametrize("number", range(6))
def test_planted(dear, number): ...
"""


def test_the_printed_seed_repeats_the_order_and_fixtures_are_created_once(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED, encoding="utf-8")

    def order(*words: str) -> list[str]:
        command = (sys.executable, "-m", "pytest", "-p", "sampling", "-v", *words)
        env = baking.clean_environment(PYTHONPATH=str(ROOT / "tests" / "support"))
        said = baking.run(*command, cwd=tmp_path, env=env).stdout
        return [
            *re.findall(r"^order: --seed (\w+)", said, re.MULTILINE),
            *re.findall(r"\[(\d-\d)\]", said),
        ]

    seed, *first = order()
    assert order("--seed", seed) == [seed, *first]
    assert [each[0] for each in first] in (["1"] * 6 + ["2"] * 6, ["2"] * 6 + ["1"] * 6)
    assert len({tuple(order("--seed", each)) for each in "abc"}) == 3
    assert len(order("--seed", seed, "--sample", "x")) == 1 + 2


def test_the_documented_cloud_costs_match_the_price_list() -> None:
    engine = ROOT / "{{cookiecutter.project_slug}}" / "vendor" / "stratakit"
    told = (engine / "docs" / "cloud.md").read_text(encoding="utf-8")
    file = engine / "src" / "stratakit" / "cloud" / "prices.toml"
    prices = tomllib.loads(file.read_text(encoding="utf-8"))
    assert f"list prices of {prices.pop('date')}" in told
    for cloud, each in prices.items():
        usd = each["usd_per_hour"]
        costs = f"${usd:g} | ${usd / 4:.3f} |"
        assert f"| `{cloud}` | `{each['instance']}` | `{each['region']}` | {costs}" in told


def names_in(module: Path) -> set[str]:
    """Return the names that a module defines or imports."""
    names: set[str] = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                names.update(each.asname or each.name for each in node.names)
            case ast.Assign() | ast.AnnAssign():
                names.update(each.id for each in ast.walk(node) if isinstance(each, ast.Name))
    return names


@pytest.mark.parametrize("file", sorted(CLIENTS.glob("*.py")), ids=lambda file: file.name)
def test_the_clients_tests_import_names_that_the_example_has(file: Path) -> None:
    # They run in the example, but only in a proof.
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            place = node.module.replace(".", "/")
            module = EXAMPLE / ("tests/integration" if node.level == 2 else "src") / f"{place}.py"
            if node.level == 2 or place.startswith("gateway/"):
                assert {each.name for each in node.names} <= names_in(module), module
