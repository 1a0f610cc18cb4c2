"""Provenance of a project: `.cruft.json`, and how cruft uses it."""

import json
import sys
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import baking
import pytest
from baking import INFERENCE, PROJECT, ROOT, Bake, Bakery, commit, git, needs_git

updates = pytest.mark.proof(of="updates")


@pytest.fixture
def checkout(own_template: Path) -> Path:
    """A copy of the template with one commit; cookiecutter requires "git" in a URL."""
    folder = own_template.rename(own_template.with_name("own strata.git"))
    commit(folder)
    return folder


@pytest.fixture
def cookiecutter(bake: Bakery, tmp_path: Path) -> Callable[..., tuple[Bake, str]]:
    """Run cookiecutter's command, and return the bake and what was printed."""

    def cookiecutter(
        template: str, *arguments: str, cwd: Path = tmp_path, env: Mapping[str, str] | None = None
    ) -> tuple[Bake, str]:
        command = (sys.executable, "-m", "cookiecutter", template, *arguments)
        environment = {**bake.environment_to_bake, **(env or {})}
        output = tmp_path / "output"
        done = baking.run(
            *command, "--no-input", "--output-dir", str(output), cwd=cwd, env=environment
        )
        (project,) = output.iterdir()
        return Bake(project, {}, bake.environment), done.stdout

    return cookiecutter


Cookiecutter = Callable[..., tuple[Bake, str]]


def state(baked: Bake) -> dict[str, object]:
    """Return the parsed `.cruft.json`."""
    parsed: dict[str, object] = json.loads((baked.path / ".cruft.json").read_text(encoding="utf-8"))
    return parsed


@needs_git
@updates
def test_cookiecutter_and_cruft_create_write_the_same_cruft_json_and_files(
    checkout: Path, cookiecutter: Cookiecutter, tmp_path: Path
) -> None:
    ours, _ = cookiecutter(str(checkout), "author=Ann “the Bob” O'Neil")
    ours.run(
        "cruft",
        "create",
        str(checkout),
        "-y",
        "--output-dir",
        str(tmp_path / "cruft"),
        "--extra-context",
        json.dumps({"author": "Ann “the Bob” O'Neil"}),
    )
    theirs = Bake(tmp_path / "cruft" / "acme", {}, ours.environment)
    assert state(ours) == state(theirs)
    assert list(state(ours)) == list(state(theirs))
    assert ours.contents().keys() == theirs.contents().keys()
    for name in ours.contents().keys() - {".cruft.json"}:
        assert ours.contents()[name] == theirs.contents()[name]


@needs_git
@pytest.mark.parametrize(
    ("typed", "cwd"),
    [(".", "."), ("../own strata.git", "."), ("..", "hooks")],
)
def test_a_relative_template_path_is_recorded_as_an_absolute_one(
    checkout: Path, cookiecutter: Cookiecutter, typed: str, cwd: str
) -> None:
    baked, _ = cookiecutter(typed, cwd=checkout / cwd)
    assert state(baked)["template"] == str(checkout.resolve())
    assert state(baked)["commit"] == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize(("pwd", "output"), [("TEMPLATE", "/"), ("/", "TEMPLATE")])
def test_a_relative_template_path_is_resolved_without_proc(
    pwd: str,
    output: str,
    own_template: Path,
    hook: Callable[..., ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PWD", pwd.replace("TEMPLATE", str(own_template)))
    answers = {"_repo_dir": ".", "_output_dir": output.replace("TEMPLATE", str(own_template))}
    found = hook("post_gen_project").template_folder(answers, Path("/no/proc"))
    assert found == own_template.resolve()


def test_an_unresolvable_relative_path_is_an_error_that_asks_for_the_full_one(
    hook: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PWD", str(tmp_path))
    module = hook("post_gen_project")
    with pytest.raises(module.UnrecordedError, match="give its full path"):
        module.template_folder({"_repo_dir": ".", "_output_dir": str(tmp_path)}, Path("/no/proc"))


@needs_git
def test_an_abbreviated_template_url_is_recorded_in_full(
    checkout: Path, cookiecutter: Cookiecutter, tmp_path: Path
) -> None:
    config = tmp_path / "abbreviations.yaml"
    settings = {
        "abbreviations": {"my": "file://{0}"},
        "replay_dir": str(tmp_path / "replay"),
        "cookiecutters_dir": str(tmp_path / "clones"),
    }
    config.write_text(json.dumps(settings))
    baked, _ = cookiecutter(f"my:{checkout}", env={"COOKIECUTTER_CONFIG": str(config)})
    assert state(baked)["template"] == f"file://{checkout}"


@needs_git
def test_the_requested_checkout_and_its_commit_are_recorded(
    checkout: Path, cookiecutter: Cookiecutter
) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    git(checkout, "tag", "1.0")
    (checkout / PROJECT / "later.txt").write_text("later\n")
    commit(checkout)
    baked, _ = cookiecutter(f"file://{checkout}", "--checkout", "1.0")
    assert (state(baked)["checkout"], state(baked)["commit"]) == ("1.0", first)
    assert not (baked.path / "later.txt").exists()


@needs_git
def test_the_subfolder_of_a_template_is_recorded(
    own_template: Path, cookiecutter: Cookiecutter, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    (whole / "templates").mkdir(parents=True)
    own_template.rename(whole / "templates" / "strata")
    commit(whole)
    baked, _ = cookiecutter(str(whole), "--directory", "templates/strata")
    assert state(baked)["template"] == str(whole)
    assert state(baked)["directory"] == "templates/strata"
    baked.run("cruft", "check")


@needs_git
def test_a_token_in_a_url_is_not_recorded(
    checkout: Path, hook: Callable[..., ModuleType], tmp_path: Path
) -> None:
    git(checkout, "remote", "add", "origin", "https://ann:secret@example.org/strata.git")
    answers = {"_template": "gh:ann/strata", "_repo_dir": str(checkout), "_checkout": None}
    recorded = hook("post_gen_project").provenance(answers)
    assert recorded["template"] == "https://example.org/strata.git"
    assert "secret" not in json.dumps(recorded)


@needs_git
@pytest.mark.parametrize("pushed", [True, False])
def test_a_clone_is_recorded_by_its_url_only_if_its_commit_was_pushed(
    pushed: bool, checkout: Path, cookiecutter: Cookiecutter
) -> None:
    git(checkout, "remote", "add", "origin", "https://example.org/strata.git")
    if pushed:
        git(checkout, "update-ref", "refs/remotes/origin/main", "HEAD")
    baked, printed = cookiecutter(str(checkout))
    address = "https://example.org/strata.git" if pushed else str(checkout)
    assert state(baked)["template"] == address
    assert state(baked)["commit"] == git(checkout, "rev-parse", "HEAD")
    assert ("a path that your colleagues do not have" in printed) == (not pushed)


UNRECORDED = {
    "no git checkout": "not a git repository",
    "no commit yet": "unknown revision",
    "untracked in a repository of something else": "did not match any file",
    "somebody else's": "dubious ownership",
    "no git": "git is not installed",
}


@needs_git
@pytest.mark.parametrize("what", UNRECORDED)
def test_a_template_without_a_readable_commit_bakes_and_reports_the_reason(
    what: str, own_template: Path, cookiecutter: Cookiecutter, tmp_path: Path
) -> None:
    env = {"LC_ALL": "C"}
    match what:
        case "no commit yet":
            git(own_template, "init", "--quiet")
            git(own_template, "add", "--all")
        case "untracked in a repository of something else":
            git(own_template.parent, "init", "--quiet")
        case "somebody else's":
            commit(own_template)
            env["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
        case "no git":
            commit(own_template)
            env["PATH"] = str(tmp_path)
    baked, printed = cookiecutter(str(own_template), env=env)
    assert "No .cruft.json is written" in printed
    assert UNRECORDED[what] in printed
    assert printed.endswith("  uv run invoke setup\n")
    assert not (baked.path / ".cruft.json").exists()


@needs_git
def test_a_zip_of_the_template_bakes_and_reports_that_there_is_no_cruft_json(
    own_template: Path, cookiecutter: Cookiecutter, tmp_path: Path
) -> None:
    archive = tmp_path / "strata.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (own_template, *sorted(own_template.rglob("*"))):
            file.write(path, path.relative_to(own_template.parent))
    baked, printed = cookiecutter(str(archive))
    assert "No .cruft.json is written" in printed
    assert not (baked.path / ".cruft.json").exists()


@needs_git
def test_uncommitted_changes_of_the_template_are_reported(
    checkout: Path, cookiecutter: Cookiecutter
) -> None:
    (checkout / PROJECT / "new.txt").write_text("new\n")
    baked, printed = cookiecutter(str(checkout))
    assert "changes that are not committed" in printed
    assert state(baked)["commit"] == git(checkout, "rev-parse", "HEAD")


@needs_git
def test_a_bake_into_the_templates_own_folder_is_not_an_uncommitted_change(
    checkout: Path, bake: Bakery
) -> None:
    command = (sys.executable, "-m", "cookiecutter", ".", "--no-input")
    printed = baking.run(*command, cwd=checkout, env=bake.environment_to_bake).stdout
    assert "not committed" not in printed
    assert (checkout / "acme" / ".cruft.json").exists()


@needs_git
def test_a_bake_inside_a_git_hook_records_the_commit_of_the_template(
    checkout: Path, cookiecutter: Cookiecutter, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    commit(other)
    env = {
        "GIT_DIR": str(other / ".git"),
        "GIT_INDEX_FILE": str(other / ".git" / "index"),
        "GIT_WORK_TREE": str(other),
    }
    baked, _ = cookiecutter(str(checkout), env=env)
    assert state(baked)["commit"] == git(checkout, "rev-parse", "HEAD")


@needs_git
def test_a_bake_over_a_project_gives_the_same_files(
    checkout: Path, cookiecutter: Cookiecutter
) -> None:
    first = cookiecutter(str(checkout))[0].contents()
    assert cookiecutter(str(checkout), "--overwrite-if-exists")[0].contents() == first


def test_a_bake_without_hooks_has_no_cruft_json(bake: Bakery) -> None:
    assert not (bake(hooks=False).path / ".cruft.json").exists()


@needs_git
@updates
@pytest.mark.parametrize(
    "answers",
    [{}, INFERENCE, {"ci": "none", "author": """Ann "{x}" O'Neil 🦕"""}],
    ids=["blank", "inference", "pruned and quoted"],
)
def test_a_cruft_update_equals_a_fresh_bake_and_keeps_the_users_files(
    answers: dict[str, str], own_template: Path, bake: Bakery, tmp_path: Path
) -> None:
    project = own_template / PROJECT
    now = {name: (project / name).read_text() for name in ("pyproject.toml", "LICENSE")}
    # The earlier commit has an additional line and file, and lacks the LICENSE.
    (project / "pyproject.toml").write_text("# An old line.\n" + now["pyproject.toml"])
    (project / "old.txt").write_text("old\n")
    (project / "LICENSE").unlink()
    commit(own_template)
    bakery = Bakery(own_template, tmp_path / "bakery")
    baked = bakery(answers)
    commit(baked.path)
    for check in (("check",), ("diff", "--exit-code")):
        baked.run("cruft", *check)

    for name, text in now.items():
        (project / name).write_text(text)
    (project / "old.txt").unlink()
    new = commit(own_template)
    assert baked.run("cruft", "check", check=False).returncode == 1

    # The user's own content: files that cruft is told to skip, and a new one.
    mine = {".env": "mine", "uv.lock": "mine", "mine.txt": "mine\n"}
    for name, text in mine.items():
        (baked.path / name).write_text(text)
    commit(baked.path)
    baked.run("cruft", "update", "--skip-apply-ask")
    assert [file for file in baked.files() if file.suffix in {".rej", ".orig"}] == []
    assert state(baked)["commit"] == new
    fresh = bakery.into(tmp_path / "fresh", answers)
    expected = fresh.contents() | {name: text.encode() for name, text in mine.items()}
    updated = baked.contents()
    assert state(baked) == state(fresh)
    assert {**updated, ".cruft.json": b""} == {**expected, ".cruft.json": b""}
    for check in (("check",), ("diff", "--exit-code")):
        baked.run("cruft", *check)


@needs_git
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout of the template")
def test_git_ignores_no_file_of_the_template(template: Path) -> None:
    ignored = git(ROOT, "ls-files", "--others", "--ignored", "--exclude-standard", "-z").split("\0")
    assert [name for name in ignored if name and (template / name).is_file()] == []


def test_cruft_skips_dotenv_and_the_lock_file(bake: Bakery) -> None:
    settings = tomllib.loads((bake().path / "pyproject.toml").read_text(encoding="utf-8"))
    assert {".env", "uv.lock"} <= set(settings["tool"]["cruft"]["skip"])
