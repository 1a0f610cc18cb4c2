"""Amount of Jinja in the template, and uses of it that are forbidden."""

import ast
import re
from pathlib import Path

import pytest
from baking import INFERENCE, PROJECT, ROOT, Bakery, is_rendered

BLOCK = re.compile(r"\{%-?\s*(\w+)")
REPLACED = re.compile(r"(?i)(gnu)?makefile|justfile|.*\.(sh|bash|zsh|fish|mk|just|bat|ps1)")
# Excluded are sleeps of a service's clock port: in tests they do not wait.
SLEEP = re.compile(r"^(?:\w+\.)*(?<!clock\.)sleep\((?!0\))")
PATCHES = re.compile(r"\bmock(er)?[.]patch\b")


@pytest.fixture(scope="session")
def texts(template: Path) -> dict[str, str]:
    """Return the template text of each rendered file of the project, by its path."""
    project = template / PROJECT
    files = [file for file in sorted(project.rglob("*")) if file.is_file()]
    texts = {file.relative_to(project).as_posix(): file.read_text("utf-8") for file in files}
    return {name: text for name, text in texts.items() if is_rendered(name)}


def test_there_are_fewer_than_seven_jinja_conditions_in_a_thousand_lines(
    texts: dict[str, str],
) -> None:
    lines = sum(text.count("\n") for text in texts.values())
    blocks = [block for text in texts.values() for block in BLOCK.findall(text)]
    conditions = [block for block in blocks if block in {"if", "elif"}]
    assert len(conditions) / lines * 100 < 0.7


def test_python_files_contain_no_jinja_blocks_or_comments(texts: dict[str, str]) -> None:
    python = {name: text for name, text in texts.items() if name.endswith(".py")}
    assert [name for name, text in python.items() if re.search(r"\{[%#]", text)] == []


def test_only_python_files_of_services_contain_jinja_variables(texts: dict[str, str]) -> None:
    python = [name for name, text in texts.items() if name.endswith(".py") and "{{" in text]
    assert [name for name in python if not name.startswith("services/")] == []


def test_names_of_files_and_folders_contain_no_conditions(texts: dict[str, str]) -> None:
    assert [name for name in texts if "{%" in name] == []


def test_every_private_variable_is_used(template: Path) -> None:
    settings = (template / "cookiecutter.json").read_text(encoding="utf-8")
    files = [*(template / PROJECT).rglob("*"), *(template / "hooks").iterdir()]
    everything = "\n".join(
        [str(file) + file.read_text(encoding="utf-8") for file in files if file.is_file()]
    )
    # Used only for its side effect; see docs/maintaining.md.
    private = set(re.findall(r'^  "(__\w+(?<!__))"', settings, re.MULTILINE))
    private -= {"__slug_made_harmless"}
    assert [name for name in private if name not in everything] == []


def test_there_is_no_shell_script_and_no_other_task_runner(template: Path, bake: Bakery) -> None:
    ours = [
        path for folder in ("tests", "docs", "benchmarks") for path in (ROOT / folder).rglob("*")
    ]
    baked = (*bake().files(), *bake(INFERENCE).files())
    for path in (*ROOT.glob("*"), *ours, *template.rglob("*"), *baked):
        assert not REPLACED.fullmatch(path.name), path
        if path.is_file() and path.suffix == "":
            assert not re.match(rb"#!.*\b(ba|z|da|k|fi)?sh\b", path.read_bytes()), path


def test_nothing_is_mock_patched_and_only_waiting_loops_sleep(
    bake: Bakery,
) -> None:
    ours = [file for folder in ("hooks", "tests") for file in (ROOT / folder).rglob("*.py")]
    for file in (*ours, *bake().files(), *bake(INFERENCE).files()):
        if file.suffix == ".py":
            text = file.read_text(encoding="utf-8")
            assert not PATCHES.search(text), file
            tree = ast.parse(text)
            waiting = [node for node in ast.walk(tree) if _waits(node)]
            assert _sleeps(tree) <= set().union(*map(_sleeps, waiting)), file


def _waits(node: ast.AST) -> bool:
    """Return whether sleep is allowed in a node: a loop, or the `sleep` of a clock."""
    return isinstance(node, ast.While) or (
        isinstance(node, ast.AsyncFunctionDef) and node.name == "sleep"
    )


def _sleeps(tree: ast.AST) -> set[int]:
    """Return the ids of calls of sleep in a tree, except `sleep(0)` and those of our clocks."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {id(call) for call in calls if SLEEP.search(ast.unparse(call))}
