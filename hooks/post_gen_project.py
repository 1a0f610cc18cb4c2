"""Prune what the answers make superfluous, note where the project comes from, say what is next.

cookiecutter renders this file and runs it in the folder of the new project; so does cruft, again
and again, into scratch folders. Standard library only, no network; the same again changes nothing.
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

# What there is for the sake of one cloud, and of any.
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

# The one manifest: which paths go with which answer.
PRUNED: Manifest = {
    **{
        ("clouds", chosen): tuple(
            path for cloud, paths in CLOUDS.items() if cloud != chosen for path in paths
        )
        for chosen in CLOUDS
    },
    ("clouds", "none"): (*(path for paths in CLOUDS.values() for path in paths), *ANY_CLOUD),
    # After what is in it.
    ("ci", "none"): (".github",),
    # Both starters may be called alike, so the one that is not wanted is rendered out of the way.
    ("starter", "inference"): (".nox/unused",),
    ("starter", "blank"): (".nox/unused",),
}

# Where cookiecutter was at work: of no use to cruft, and paths of one machine.
MACHINE = {"_repo_dir", "_output_dir", "_checkout"}

# What a bake is made of; the rest of the template's repository may be as it likes.
BAKED = ("*cookiecutter*", "hooks", "templates")

# By these a git hook that bakes would have us read its own repository.
REPOSITORY = {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"}


class UnrecordedError(Exception):
    """Why it cannot be said which template, and which commit of it, the project is made of."""


def prune(project: Path, answers: Mapping[str, Any], manifest: Manifest = PRUNED) -> None:
    """Remove the paths that the manifest lists for the answers.

    Raises:
        FileNotFoundError: a listed path does not exist, so the manifest is out of date.
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
    """Return what git prints.

    Raises:
        UnrecordedError: there is no git, or it fails.
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


# While it waits for a hook, cookiecutter stands in the template.
STANDS = Path(f"/proc/{os.getppid()}/cwd")


def template_folder(answers: Mapping[str, Any], stands: Path = STANDS) -> Path:
    """Return the folder of the template.

    Raises:
        UnrecordedError: it cannot be found.
    """
    folder = Path(answers["_repo_dir"])
    candidates = [folder]
    if not folder.is_absolute():
        # As it was typed, and relative to a working directory that hooks are not told.
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
    """Return the URL that has the commit of a clone, where colleagues find it, too; else nothing."""
    with suppress(UnrecordedError):
        url = origin(folder)
        # All that git takes for a URL has one: https://host/path, user@host:path.
        if ":" in url and git(folder, "branch", "--remotes", "--contains", "HEAD"):
            return url
    return ""


def provenance(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what cruft would have written into `.cruft.json`.

    Raises:
        UnrecordedError: the template is no git checkout, or has no commit yet.
    """
    folder = template_folder(answers)
    # Fails for a copy of the template that lies, untracked, in a repository of something else.
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
    """Write `.cruft.json`, and return what there is to say about it."""
    try:
        state = provenance(answers)
        changes = git(template_folder(answers), "status", "--porcelain", "--", *BAKED)
    except UnrecordedError as reason:
        return (
            f"No .cruft.json is written, so updates of the template cannot be had: {reason}.\n"
            "To have them, bake from a git checkout or a URL of the template."
        )
    text = json.dumps(state, indent=2, separators=(",", ": ")) + "\n"
    (project / ".cruft.json").write_text(text, encoding="utf-8", newline="\n")
    said = []
    if ":" not in state["template"]:
        said.append(
            f".cruft.json names the template as {state['template']}, where your colleagues have"
            ' none;\nonce it is pushed, write its URL there, as "template".'
        )
    if changes:
        said.append(
            f".cruft.json names the template's commit {state['commit'][:7]}, but the template has"
            " changes that are not committed;\n`cruft diff` will show them."
        )
    return "\n".join(said)


# What the starter `inference` does without: its service is there.
OF_BLANK = {"service": "gateway", "resource": "item"}


def without_effect(answers: Mapping[str, Any]) -> str:
    """Return what to say of answers that the starter has no use for."""
    given = [key for key, usual in OF_BLANK.items() if answers.get(key, usual) != usual]
    if not given or answers["starter"] == "blank":
        return ""
    names = " and ".join(f"{key}={shlex.quote(answers[key])}" for key in given)
    command = f"uv run invoke service.add {answers['service']} --resource {answers['resource']}"
    return (
        f"Without effect, since only the starter `blank` has a use for it: {names}.\n"
        f"To add such a service: {command}"
    )


def list_engine(project: Path) -> None:
    """Write the manifest of the vendored engine, by which the project sees that it is unchanged."""
    engine = project / "vendor" / "stratakit"
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(engine / "src"))
    manifest = importlib.import_module("stratakit.manifest")
    manifest.write(engine)


def next_steps(project: Path) -> str:
    """Return the commands that follow a bake."""
    # The name alone is right only where the project was baked into the current folder.
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
        # cruft compares bakes; nobody goes on from its scratch folders.
        return
    else:
        said, stream = "", sys.stderr
    text = "\n".join(filter(None, [without_effect(answers), said, next_steps(project)]))
    # A terminal that cannot show a letter of the path must not cost the project.
    print(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding), file=stream)


if __name__ == "__main__":
    main(Path.cwd(), ANSWERS)
