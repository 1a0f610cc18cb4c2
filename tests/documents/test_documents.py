"""Documents agree with the code, and each command in them is run or parsed."""

import ast
import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

import baking
import documents
import pytest
from baking import Bakery, named
from documents import Command, Document
from project import Project, listen_elsewhere

pytestmark = pytest.mark.slow
proof = pytest.mark.proof(of="documents")

TESTS = baking.ROOT / "tests"
PARSES = TESTS / "support" / "parses.py"

# Documents whose commands are run by other tests.
WALKED = {
    "README.md": "documents/test_readme_walkthrough.py",
    "AGENTS.md": "documents/test_readme_walkthrough.py",
    "actions.md": "documents/test_readme_walkthrough.py",
}


@pytest.fixture(
    scope="module",
    params=["blank", pytest.param("inference", marks=proof)],
)
def project(
    request: pytest.FixtureRequest, bake: Bakery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A project that `uv run` works in, whose documents a test may follow."""
    starter: str = request.param
    folder = tmp_path_factory.mktemp("documents")
    baked = bake.into(folder, {"starter": starter, **named(f"told {starter}")})
    listen_elsewhere(baked)
    baked.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    environment = {**baked.environment, "STRATA_SERVERS": "embedded"}
    project = Project(baked.path, baked.answers, environment)
    yield project
    # Actions keep servers up for later ones.
    project.run(".venv/bin/invoke", "stack.down")


@pytest.fixture(scope="module")
def commands(project: Project) -> list[Command]:
    """Every command that the documents of the project name."""
    return [each for document in documents.of(project.path) for each in document.commands()]


def test_documented_output_is_the_output_of_its_command(project: Project) -> None:
    shown = [each for document in documents.of(project.path) for each in document.shown()]
    assert len({command for command, _ in shown}) == 3
    for command, text in shown:
        assert project.run(*command.split()).stdout.strip() == text.strip(), command


def test_the_readme_of_the_template_shows_the_graph_of_a_project(project: Project) -> None:
    picture = project.run("uv", "run", "invoke", "graph", "--format", "mermaid").stdout.strip()
    assert picture in (baking.ROOT / "README.md").read_text(encoding="utf-8")


def test_no_document_has_a_broken_link(project: Project) -> None:
    for folder in (baking.ROOT, project.path):
        for document in documents.of(folder):
            assert document.broken_links() == [], document.name


def test_nox_and_invoke_accept_each_documented_command_of_a_project(
    project: Project, commands: list[Command]
) -> None:
    assert misunderstood(project, project.path, commands) == {}


def test_each_command_in_the_templates_documents_is_valid_there_or_in_a_project(
    project: Project,
) -> None:
    named = [each for document in documents.of(baking.ROOT) for each in document.commands()]
    strange = misunderstood(project, baking.ROOT, named)
    assert strange.keys() & misunderstood(project, project.path, named).keys() == set()


def test_each_documented_command_without_placeholders_or_needs_is_run_by_a_test(
    commands: list[Command],
) -> None:
    walked = {"README.md", "actions.md"}
    of_newcomers = {each.line for each in commands if each.document in walked}
    in_blocks = {each.line for each in commands if each.in_block and not each.needs}
    for command in commands:
        if command.needs or command.is_pattern:
            continue
        if file := command.elsewhere:
            action = re.search(r"invoke ([a-z]+\.[a-z]+)", command.line)
            text = (TESTS / file).read_text(encoding="utf-8")
            assert not action or action[1] in text, f"{file} does not run {action[1]}"
        else:
            run = command.line in of_newcomers | in_blocks
            assert run, f"no test runs `{command.line}` of {command.document}"


# Takes a minute on an otherwise idle machine.
@proof
@pytest.mark.timeout(600)
def test_the_commands_of_the_documents_pass_from_top_to_bottom(project: Project) -> None:
    examples: list[str] = []
    for document in documents.of(project.path):
        for block in document.blocks if document.name not in WALKED else []:
            if block.kind == "file":
                examples.append(block.note)
                (project.path / block.note).parent.mkdir(parents=True, exist_ok=True)
                (project.path / block.note).write_text(f"{block.text}\n", encoding="utf-8")
            for line in block.commands if block.kind != "needs" else []:
                if not re.search("invoke service|nox -s coverage", line):
                    follow(project, line)
    assert examples
    follow(project, f"uv run nox -s static -- --only lint --only format {shlex.join(examples)}")


def test_each_explained_message_is_in_the_code(project: Project) -> None:
    folder = project.path / "vendor" / "stratakit" / "docs"
    text = Document(folder / "messages.md").text
    text += (
        Document(folder / "cloud.md")
        .text.partition("## When a step fails")[2]
        .partition("\n## ")[0]
    )
    explained = re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE)
    assert {
        "uv.lock is stale: a pyproject.toml has changed since it was made",
        "there is no cloud …",
    } <= {*explained}
    (guard,) = project.path.glob(".venv/**/pytest_socket/__init__.py")
    sources = [*(project.path / "vendor" / "stratakit" / "src").rglob("*.py"), guard]
    printed = [text for file in sources for text in texts(file)]
    for message in explained:
        for part in filter(str.strip, message.split("…")):
            assert any(part in text for text in printed), f"nothing prints {part!r}"


def follow(project: Project, line: str) -> None:
    """Run a command exactly as a document has it."""
    done = project.run(*shlex.split(line), check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def misunderstood(project: Project, folder: Path, commands: Sequence[Command]) -> dict[str, str]:
    """Return the commands that the tasks and sessions in `folder` do not accept, and why."""
    python = sys.executable if folder == baking.ROOT else ".venv/bin/python"
    invoke = {each.line: each.after("invoke", known="setup") for each in commands}
    asked = {line: words for line, words in invoke.items() if words}
    done = baking.run(
        *(python, str(PARSES)),
        cwd=folder,
        env=project.environment,
        typed=json.dumps(list(asked.values())),
    )
    wrong = dict(zip(asked, json.loads(done.stdout), strict=True))

    def listed(options: Sequence[str]) -> str:
        command = ("nox", "--list", *options)
        done = baking.run(*command, cwd=folder, env=project.environment, check=False)
        return f"{done.stdout}{done.stderr}" if done.returncode else ""

    nox = {each.line: each.after("nox", known="unit") for each in commands}
    # Arguments after `--` go to the session; many commands share those that nox itself reads.
    sessions = {
        line: tuple(takewhile(lambda word: word != "--", words))
        for line, words in nox.items()
        if words
    }
    apart = {*sessions.values()}
    with ThreadPoolExecutor(2) as pool:
        said = dict(zip(apart, pool.map(listed, apart), strict=True))
    wrong.update({line: said[options] for line, options in sessions.items()})
    return {line: why for line, why in wrong.items() if why}


def texts(file: Path) -> Iterator[str]:
    """Yield the strings of a module, with … for interpolated values."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
