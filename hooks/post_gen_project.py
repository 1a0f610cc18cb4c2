"""Prune files that the answers do not need, record the template, print the next steps.

cookiecutter renders this file and runs it in the new project's folder; so does cruft, repeatedly,
in scratch folders. Standard library only, no network, idempotent.
"""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

# Pairs, since `tojson` would sort a mapping, and cruft keeps the order of cookiecutter.json.
ANSWERS: dict[str, Any] = dict(json.loads(r"""{{ cookiecutter.items() | list | tojson }}"""))

Manifest = Mapping[tuple[str, str], tuple[str, ...]]

# Files that only one cloud needs, and those that any cloud needs.
CLOUDS = {
    "aws": (
        "infra/policies/aws",
        "infra/terraform/aws",
        "tests/infrastructure/test_localstack_aws.py",
    ),
    "gcp": (
        "infra/policies/gcp",
        "infra/terraform/gcp",
        "tests/infrastructure/test_localstack_gcs.py",
    ),
    "hetzner": ("infra/policies/hetzner", "infra/terraform/hetzner"),
}
ANY_CLOUD = (
    ".github/workflows/cloud.yml",
    "infra/.tflint.hcl",
    "infra/kubernetes",
    "infra/policies/cost.rego",
    "infra/policies/security.rego",
    "infra/sky",
    "infra/terraform/naming",
    "tests/infrastructure/test_terraform.py",
)

# Paths to remove for each answer.
PRUNED: Manifest = {
    **{
        ("clouds", chosen): tuple(
            path for cloud, paths in CLOUDS.items() if cloud != chosen for path in paths
        )
        for chosen in CLOUDS
    },
    ("clouds", "none"): (*(path for paths in CLOUDS.values() for path in paths), *ANY_CLOUD),
    # After the paths inside it.
    ("ci", "none"): (".github",),
    # Both starters may have the same name, so the unwanted one is rendered elsewhere.
    ("starter", "inference"): (".nox/unused",),
    ("starter", "blank"): (".nox/unused",),
}

# Paths of this machine, which cruft does not need.
MACHINE = {"_repo_dir", "_output_dir", "_checkout"}

# Files that affect a bake; uncommitted changes elsewhere in the template do not matter.
BAKED = ("*cookiecutter*", "hooks", "templates")

# Set by git hooks: a bake inside one would read the hook's repository instead of the template's.
REPOSITORY = {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"}


class UnrecordedError(Exception):
    """Reason why the template, or its commit, is unknown."""


def prune(project: Path, answers: Mapping[str, Any], manifest: Manifest = PRUNED) -> None:
    """Remove the paths that the manifest lists for the answers.

    Raises:
        FileNotFoundError: if a listed path does not exist: the manifest is out of date.
    """
    for (key, value), names in manifest.items():
        if answers[key] != value:
            continue
        for path in (project / name for name in names):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()


def git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command.

    Raises:
        UnrecordedError: if git is missing or fails.
    """
    environment = {key: value for key, value in os.environ.items() if key not in REPOSITORY}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
        )
    except FileNotFoundError as error:
        raise UnrecordedError("git is not installed") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.partition("\n")[0]
        raise UnrecordedError(f"`{shlex.join(command)}` says {said!r}") from error
    return done.stdout.strip()


# Working directory of cookiecutter: the template, while it waits for a hook.
STANDS = Path(f"/proc/{os.getppid()}/cwd")


def template_folder(answers: Mapping[str, Any], stands: Path = STANDS) -> Path:
    """Return the folder of the template.

    Raises:
        UnrecordedError: if it is not found.
    """
    folder = Path(answers["_repo_dir"])
    candidates = [folder]
    if not folder.is_absolute():
        # Relative, as typed, to a working directory that hooks do not know.
        candidates = [
            stands,
            os.environ.get("PWD", os.sep) / folder,
            answers["_output_dir"] / folder,
        ]
    for candidate in candidates:
        with suppress(OSError):
            if (candidate / "cookiecutter.json").is_file():
                return candidate.resolve()
    raise UnrecordedError(f"the template's folder {str(folder)!r} is not found; give its full path")


def origin(folder: Path) -> str:
    """Return the URL of a clone's origin, without a token: the project commits what is recorded."""
    return re.sub(r"(?<=://)[^/@]*:[^/@]*@", "", git(folder, "remote", "get-url", "origin"))


def published(folder: Path) -> str:
    """Return the URL to which a clone's commit was pushed, so that others can fetch it, or ""."""
    with suppress(UnrecordedError):
        url = origin(folder)
        # Every git URL has a colon: https://host/path, user@host:path.
        if ":" in url and git(folder, "branch", "--remotes", "--contains", "HEAD"):
            return url
    return ""


def provenance(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content that cruft would have written to `.cruft.json`.

    Raises:
        UnrecordedError: if the template is not a git checkout, or has no commit yet.
    """
    folder = template_folder(answers)
    # Fails for a copy of the template that is untracked in another repository.
    git(folder, "ls-files", "--error-unmatch", "cookiecutter.json")
    commit = git(folder, "rev-parse", "HEAD")
    typed = answers["_repo_dir"].startswith(answers["_template"])
    if typed and not (template := published(folder)):
        template = str(Path(git(folder, "rev-parse", "--show-toplevel")))
    elif not typed:
        # A clone that cookiecutter made: `_template` may be an abbreviation, such as gh:owner/name.
        template = origin(folder)
    context = {key: value for key, value in answers.items() if key not in MACHINE}
    return {
        "template": template,
        "commit": commit,
        "checkout": answers["_checkout"],
        "context": {"cookiecutter": {**context, "_template": template, "_commit": commit}},
        "directory": git(folder, "rev-parse", "--show-prefix").rstrip("/") or None,
    }


def record(project: Path, answers: Mapping[str, Any]) -> str:
    """Write `.cruft.json`; return notes to print about it, if any."""
    try:
        state = provenance(answers)
        changes = git(template_folder(answers), "status", "--porcelain", "--", *BAKED)
    except UnrecordedError as reason:
        return (
            f"No .cruft.json is written, so the project cannot be updated: {reason}.\n"
            "For updates, bake from a git checkout or a URL of the template."
        )
    text = json.dumps(state, indent=2, separators=(",", ": ")) + "\n"
    (project / ".cruft.json").write_text(text, encoding="utf-8", newline="\n")
    said = []
    if ":" not in state["template"]:
        said.append(
            f".cruft.json records the template as {state['template']}, a path that your colleagues"
            ' do not have;\nonce it is pushed, set "template" there to its URL.'
        )
    if changes:
        said.append(
            f".cruft.json records the template's commit {state['commit'][:7]}, but the template has"
            " changes that are not committed;\n`cruft diff` will show them."
        )
    return "\n".join(said)


# Answers that only the starter `blank` uses, with their defaults.
OF_BLANK = {"service": "gateway", "resource": "item"}


def without_effect(answers: Mapping[str, Any]) -> str:
    """Return a note on answers that the starter ignores."""
    given = [key for key, usual in OF_BLANK.items() if answers.get(key, usual) != usual]
    if not given or answers["starter"] == "blank":
        return ""
    names = " and ".join(f"{key}={shlex.quote(answers[key])}" for key in given)
    command = f"uv run invoke service.add {answers['service']} --resource {answers['resource']}"
    return (
        f"Ignored, because only the starter `blank` uses it: {names}.\n"
        f"To add such a service: {command}"
    )


def list_engine(project: Path) -> None:
    """Write the manifest of the vendored engine, to detect changes to it later."""
    engine = project / "vendor" / "stratakit"
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(engine / "src"))
    manifest = importlib.import_module("stratakit.manifest")
    manifest.write(engine)


def next_steps(project: Path) -> str:
    """Return the commands to run after a bake."""
    # The name alone works only if the project was baked into the current folder.
    here = os.environ.get("PWD") == str(project.parent)
    steps = [
        shlex.join(["cd", project.name if here else str(project)]),
        *([] if shutil.which("uv") else ["pip install uv"]),
        "uv run invoke setup",
    ]
    return "\n".join(["Next:", *(f"  {step}" for step in steps)])


def main(project: Path, answers: Mapping[str, Any]) -> None:
    """Finish the project."""
    prune(project, answers)
    list_engine(project)
    if "_repo_dir" in answers:
        said, stream = record(project, answers), sys.stdout
    elif project.is_relative_to(Path(tempfile.gettempdir()).resolve()):
        # cruft compares bakes in scratch folders, where next steps make no sense.
        return
    else:
        said, stream = "", sys.stderr
    text = "\n".join(filter(None, [without_effect(answers), said, next_steps(project)]))
    # Escape letters that the terminal cannot encode: an error here would discard the project.
    print(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding), file=stream)


if __name__ == "__main__":
    main(Path.cwd(), ANSWERS)
