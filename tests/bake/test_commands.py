"""Commands that bake a project, run as users type them."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import baking
import pytest
from baking import Bake, Bakery, needs_git

slow = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name has a space and a non-ASCII letter."""
    folder = tmp_path / "mein schöner Ordner"
    folder.mkdir()
    return folder


def test_cookiecutter_bakes_into_the_current_folder_and_prints_the_next_commands(
    bake: Bakery, folder: Path
) -> None:
    command = ("cookiecutter", str(bake.template), "--no-input")
    done = baking.run(*command, cwd=folder, env=bake.environment_to_bake)
    assert done.stdout.endswith("Next:\n  cd acme\n  uv run invoke setup\n")
    assert Bake(folder / "acme", {}, {}).contents() == bake().contents()


def test_an_unprivileged_user_without_a_home_can_bake(bake: Bakery, folder: Path) -> None:
    own = {key: str(folder / key) for key in ("replay_dir", "cookiecutters_dir")}
    (folder / "config.yaml").write_text(json.dumps(own))
    env = bake.environment_to_bake | {
        "HOME": "/nonexistent",
        "TMPDIR": str(folder),
        "COOKIECUTTER_CONFIG": str(folder / "config.yaml"),
    }
    command = (sys.executable, "-m", "cookiecutter", str(bake.template), "--no-input")
    baking.run(*baking.ordinary_user(folder), *command, cwd=folder, env=env)
    assert Bake(folder / "acme", {}, {}).contents() == bake().contents()


def test_a_bake_needs_neither_git_nor_uv_nor_docker(bake: Bakery, folder: Path) -> None:
    env = bake.environment_to_bake | {"PATH": str(folder)}
    command = (sys.executable, "-m", "cookiecutter", str(bake.template), "--no-input")
    done = baking.run(*command, cwd=folder, env=env)
    assert "pip install uv" in done.stdout
    assert Bake(folder / "acme", {}, {}).contents() == bake().contents()


def test_a_bake_with_declined_hooks_leaves_a_complete_project(bake: Bakery, folder: Path) -> None:
    command = ("cookiecutter", str(bake.template), "--no-input", "--accept-hooks", "no")
    baking.run(*command, "ci=none", cwd=folder, env=bake.environment_to_bake)
    assert Bake(folder / "acme", {}, {}).contents() == bake(hooks=False, ci="none").contents()


def test_a_refusal_exits_with_1_and_shows_its_message_first(bake: Bakery, folder: Path) -> None:
    command = ("cookiecutter", str(bake.template), "--no-input", "service=json")
    done = baking.run(*command, cwd=folder, env=bake.environment_to_bake, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("service: 'json' cannot be used, because it is a module of")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("answers", "good"),
    [
        (["service=My Shop"], {"services/my-shop"}),
        (["service=json", "resource=Line-Item", "ci=none"], {"services/billing"}),
        (["project_name=It's\tours", 'author=Ann "the" O\'Neil'], {"services/gateway"}),
        (["project_slug=a/b", "license=Proprietary"], {"services/gateway"}),
    ],
)
def test_a_refusal_prints_a_corrected_command_that_bakes(
    answers: list[str], good: set[str], bake: Bakery, folder: Path
) -> None:
    env = bake.environment_to_bake
    command = ("cookiecutter", str(bake.template), "--no-input", "--output-dir", "a b")
    done = baking.run(*command, *answers, cwd=folder, env=env, check=False)
    assert done.returncode == 1
    _, _, said = done.stderr.partition("Corrected:\n  ")
    again = shlex.split(said.partition("\n")[0])
    # The environment of the tests has cookiecutter; uvx would create another.
    again = again[again.index("cookiecutter") :]
    assert again[1:4] == [str(bake.template), "--no-input", "--output-dir"]
    baking.run(*again, cwd=folder, env=env)
    (made,) = (folder / "a b").iterdir()
    assert all((made / path).is_dir() for path in good)
    assert (made / ".github").exists() is ("ci=none" not in answers)
    assert ("Proprietary" in str(answers)) is (
        "All rights reserved" in (made / "LICENSE").read_text()
    )


@pytest.mark.parametrize("url", [False, True])
@needs_git
def test_the_corrected_command_names_the_subfolder_of_the_template(
    url: bool, bake: Bakery, folder: Path, tmp_path: Path
) -> None:
    # The suffix by which cookiecutter recognises a git URL.
    whole = tmp_path / "whole.git"
    shutil.copytree(bake.template, whole / "templates" / "strata")
    baking.commit(whole)
    env = bake.environment_to_bake
    given = (f"file://{whole}" if url else str(whole), "--no-input", "--directory")
    command = ("cookiecutter", *given, "templates/strata", "service=json")
    done = baking.run(*command, cwd=folder, env=env, check=False)
    again = shlex.split(done.stderr.partition("Corrected:\n  ")[2].partition("\n")[0])
    baking.run(*again[again.index("cookiecutter") :], cwd=folder, env=env)
    assert (folder / "acme" / "services" / "billing").is_dir()


@needs_git
def test_a_refusal_under_cruft_prints_a_corrected_extra_context(bake: Bakery, folder: Path) -> None:
    template = folder / "template"
    shutil.copytree(bake.template, template)
    baking.commit(template)
    env = bake.environment_to_bake
    create = ("cruft", "create", str(template), "--no-input", "--extra-context")
    bad = json.dumps({"service": "My Shop", "project_slug": "Our Shop!"})
    done = baking.run(*create, bad, cwd=folder, env=env, check=False)
    assert done.returncode == 1
    (good,) = re.findall(r"^  '(\{.*\})'$", done.stdout + done.stderr, re.MULTILINE)
    baking.run(*create, good, cwd=folder, env=env)
    assert (folder / "our-shop" / "services" / "my-shop").is_dir()


def test_prompts_show_questions_instead_of_keys_and_enter_takes_each_default(
    bake: Bakery, folder: Path
) -> None:
    command = ("cookiecutter", str(bake.template))
    done = baking.run(*command, cwd=folder, env=bake.environment_to_bake, typed="\n" * 20)
    for prompt in baking.PROMPTS:
        assert f"] {prompt} (" not in done.stdout
        assert f"Select {prompt}" not in done.stdout
    assert Bake(folder / "acme", {}, {}).contents() == bake().contents()


def test_jinja_typed_at_a_prompt_is_refused(bake: Bakery, folder: Path) -> None:
    typed = "Acme\n{{ cookiecutter }}\n\n\n\n\n{{ 1 }}\n\n\n\n"
    command = ("cookiecutter", str(bake.template))
    done = baking.run(*command, cwd=folder, env=bake.environment_to_bake, typed=typed, check=False)
    assert done.returncode == 1
    assert "project_slug: '{{ cookiecutter }}' cannot be used" in done.stderr
    assert "author: '{{ 1 }}' cannot be used" in done.stderr
    assert list(folder.iterdir()) == []


def test_replaying_a_bake_gives_the_same_project(bake: Bakery, folder: Path) -> None:
    command = ("cookiecutter", str(bake.template), "--output-dir")
    answers = ("starter=blank", "service=billing")
    baking.run(*command, "first", "--no-input", *answers, cwd=folder, env=bake.environment_to_bake)
    baking.run(*command, "second", "--replay", cwd=folder, env=bake.environment_to_bake)
    first, second = (Bake(folder / name / "acme", {}, {}) for name in ("first", "second"))
    assert second.contents() == first.contents()
    assert (second.path / "services" / "billing").is_dir()


@slow
def test_cookiecutter_through_uvx_bakes_the_same_project(bake: Bakery, folder: Path) -> None:
    command = ("uvx", "cookiecutter", str(bake.template), "--no-input")
    baking.run(*command, cwd=folder, env=bake.environment_to_bake)
    assert Bake(folder / "acme", {}, {}).contents() == bake().contents()


@slow
@needs_git
def test_cruft_create_bakes_the_same_project(
    own_template: Path, bake: Bakery, folder: Path
) -> None:
    baking.commit(own_template)
    baking.run("cruft", "create", str(own_template), "-y", cwd=folder, env=bake.environment_to_bake)
    made = Bake(folder / "acme", {}, {}).contents()
    assert made.pop(".cruft.json")
    assert made == bake().contents()


def test_the_printed_commands_can_be_pasted_for_a_path_with_a_space(
    bake: Bakery, folder: Path
) -> None:
    command = ("cookiecutter", str(bake.template), "--no-input", "--output-dir", "a b")
    done = baking.run(*command, cwd=folder, env=bake.environment_to_bake)
    commands = done.stdout.partition("Next:\n")[2]
    # The real `uv run invoke setup` would install the whole project.
    uv = 'uv() { pwd; printf "%s\\n" "$@"; }\n'
    pasted = baking.run("sh", "-e", cwd=folder, env=bake.environment, typed=uv + commands)
    assert pasted.stdout.splitlines() == [str(folder / "a b" / "acme"), "run", "invoke", "setup"]
