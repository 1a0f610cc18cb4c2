"""The hooks, rendered as cookiecutter does and imported."""

import ast
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from baking import PROMPTS, ROOT, Bakery

HOOKS = sorted((ROOT / "hooks").glob("*.py"))
NETWORK = {"asyncio", "ftplib", "http", "smtplib", "socket", "socketserver", "ssl", "urllib"}

each_hook = pytest.mark.parametrize("file", HOOKS, ids=lambda file: file.stem)
Hook = Callable[..., ModuleType]
KEPT = {"ci": "github", "clouds": "all", "starter": "blank"}
"""Answers that prune only what every bake prunes."""


@each_hook
def test_a_hook_imports_only_standard_modules_and_none_for_networking(
    file: Path,
) -> None:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    imported = {
        name.partition(".")[0]
        for node in nodes
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names - NETWORK


@each_hook
def test_a_hook_reads_the_answers_as_json_in_one_place(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    (expression,) = re.findall(r"\{[{%#].*", source)
    assert re.fullmatch(r'\{\{ cookiecutter[\w.()| ]* tojson \}\}"""\)+', expression)
    assert f'json.loads(r"""{expression}' in source


@each_hook
@pytest.mark.parametrize("answer", ['"""', "'''", '\\"""', "\\", 'a\\" + evil() + r"', "\n", "🦕"])
def test_no_answer_breaks_out_of_the_string_that_holds_it(
    file: Path, answer: str, hook: Hook
) -> None:
    assert hook(file.stem, author=answer).ANSWERS["author"] == answer


def test_pruning_removes_the_listed_folders_and_files_and_keeps_others(
    hook: Hook, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "folder" / "inner").mkdir(parents=True)
    (project / "file").touch()
    (project / "kept").touch()
    manifest = {("ci", "none"): ("folder", "file"), ("ci", "github"): ("kept",)}
    hook("post_gen_project").prune(project, {"ci": "none"}, manifest)
    assert [path.name for path in project.iterdir()] == ["kept"]


def test_pruning_a_path_that_does_not_exist_fails(hook: Hook, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        hook("post_gen_project").prune(tmp_path, {"ci": "none"}, {("ci", "none"): ("gone",)})


def test_the_pruning_manifest_names_only_existing_choices_and_paths(
    hook: Hook, bake: Bakery
) -> None:
    everything = bake(hooks=False).path
    for (key, value), paths in hook("post_gen_project").PRUNED.items():
        assert value in PROMPTS[key]
        assert [path for path in paths if not (everything / path).exists()] == []


def test_the_next_command_quotes_the_folder_for_a_shell(hook: Hook, tmp_path: Path) -> None:
    steps = hook("post_gen_project").next_steps(tmp_path / "it's here").splitlines()
    assert shlex.split(steps[1]) == ["cd", str(tmp_path / "it's here")]
    assert steps[-1] == "  uv run invoke setup"


def test_the_next_command_has_a_path_relative_to_the_current_folder(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PWD", str(tmp_path))
    assert "  cd acme\n" in hook("post_gen_project").next_steps(tmp_path / "acme")


@pytest.mark.parametrize("has_uv", [True, False])
def test_the_next_commands_install_uv_only_if_it_is_missing(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_uv: bool
) -> None:
    uv = tmp_path / ("uv.exe" if os.name == "nt" else "uv")
    uv.touch(mode=0o755 if has_uv else 0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ("pip install uv" in hook("post_gen_project").next_steps(tmp_path)) is not has_uv


def unfinished(project: Path) -> Path:
    """Create a project in its state before the hook runs."""
    (project / ".nox" / "unused").mkdir(parents=True)
    core = Path("vendor", "stratakit", "src", "stratakit")
    (project / core).mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "manifest.py", "streams.py"):
        shutil.copy(ROOT / "{{cookiecutter.project_slug}}" / core / name, project / core)
    return project


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder for temporary files, inside `tmp_path`."""
    folder = tmp_path / "scratch"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.usefixtures("scratch")
def test_a_terminal_that_cannot_encode_a_path_does_not_fail_the_bake(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    hook("post_gen_project").main(unfinished(tmp_path / "日本"), KEPT)
    stream.seek(0)
    assert stream.read().endswith("\n  uv run invoke setup\n")


@pytest.mark.usefixtures("scratch")
def test_the_hook_prints_the_next_commands_only_to_standard_error(
    hook: Hook, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook("post_gen_project").main(unfinished(tmp_path), KEPT)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("\n  uv run invoke setup\n")


def test_a_bake_into_the_temporary_folder_prints_nothing(
    hook: Hook, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook("post_gen_project").main(unfinished(scratch / "acme"), KEPT)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        ({"starter": "blank", "service": "billing", "resource": "invoice"}, ""),
        ({"starter": "inference", "service": "gateway", "resource": "item"}, ""),
        (
            {"starter": "inference", "service": "billing", "resource": "item"},
            "service=billing",
        ),
        (
            {"starter": "inference", "service": "billing", "resource": "invoice"},
            "service=billing and resource=invoice",
        ),
    ],
)
def test_answers_that_the_starter_ignores_are_reported(
    answers: dict[str, str], names: str, hook: Callable[..., ModuleType]
) -> None:
    said = hook("post_gen_project").without_effect(answers)
    assert bool(said) == bool(names)
    if names:
        assert f"Ignored, because only the starter `blank` uses it: {names}.\n" in said
        command = f"service.add {answers['service']} --resource {answers['resource']}"
        assert said.endswith(command)
