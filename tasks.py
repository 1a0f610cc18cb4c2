"""The template's own actions: `uv run --group test invoke --list`."""

import shutil
import tempfile
from pathlib import Path

from cookiecutter.main import cookiecutter
from invoke import Context, Exit, task

ROOT = Path(__file__).parent


@task(
    help={"into": "the folder to bake into", "answer": "KEY=VALUE, may be repeated"},
    iterable=["answer"],
)
def bake(_: Context, answer: list[str], into: str = "build") -> None:
    """Bake the template from the working tree, overwriting an earlier bake."""
    answers = dict(pair.split("=", 1) for pair in answer)
    folder = cookiecutter(
        str(ROOT),
        no_input=True,
        extra_context=answers,
        output_dir=into,
        overwrite_if_exists=True,
        default_config=True,
    )
    print(folder)


@task(help={"since": "a commit or tag of the template that a project was baked from"})
def rehearse(c: Context, since: str = "HEAD~1") -> None:
    """Bake an older commit of the template and update the project to HEAD, as users will."""
    with tempfile.TemporaryDirectory() as scratch:
        c.run(f"cruft create '{ROOT}' --output-dir '{scratch}' --no-input --checkout {since}")
        (project,) = Path(scratch).iterdir()
        with c.cd(str(project)):
            c.run("git init --quiet && git add --all && git commit --quiet --message baked")
            c.run("cruft update --skip-apply-ask")
            c.run("git status --short")
        rejected = [str(file.relative_to(project)) for file in project.rglob("*.rej")]
    if rejected:
        raise Exit(f"the update does not apply to an untouched project: {', '.join(rejected)}")


@task
def clean(_: Context) -> None:
    """Remove leftovers of bakes and tests from the working tree."""
    for name in ("build", "reports", ".nox", ".ruff_cache", ".pytest_cache"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
