#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2026.8.10"]
# ///
"""The template's own tiers: `nox` runs static and tests, `nox -l` lists all.

A project that was baked has tiers of its own; the tests here run those too.
"""

from pathlib import Path

import nox

nox.needs_version = ">=2026.8.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"

PYPROJECT = nox.project.load_toml("pyproject.toml")
BENCHMARKS = ["first_run", "gateway", "isolation"]
WORKFLOWS = sorted(map(str, Path(".github/workflows").glob("*.yml")))
DEPENDABOT = ".github/dependabot.yml"
# Bakes leave it out of their checks.
ENGINE = Path("{{cookiecutter.project_slug}}", "vendor", "stratakit")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# As in a project: where a container forbids bytecode, each of many processes compiles all anew.
# Beside the sources it would be baked with them.
BYTECODE = {
    "PYTHONDONTWRITEBYTECODE": None,
    "PYTHONPYCACHEPREFIX": str(Path(__file__).parent / ".nox" / "bytecode"),
}


def install(session: nox.Session, group: str) -> None:
    """Install a dependency group of the template."""
    session.install(*nox.project.dependency_groups(PYPROJECT, group))


@nox.session
def static(session: nox.Session) -> None:
    """Check the template's own code, the engine and the workflows: format, lint, types."""
    install(session, "static")
    # The engine leaves itself out, where it is vendored.
    for where in ((".",), (str(ENGINE), "--config", "exclude = []")):
        session.run("ruff", "format", "--check", *where)
        session.run("ruff", "check", *where)
    session.run("mypy")
    manifest = nox.project.load_toml(ENGINE / "pyproject.toml")
    types = nox.project.dependency_groups(manifest, "static")
    session.install(*manifest["project"]["dependencies"], *types)
    with session.chdir(ENGINE):
        session.run("mypy", "src", "upgrade.py")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", DEPENDABOT)
    session.run("zizmor", "--offline", "--no-progress", *WORKFLOWS, DEPENDABOT)
    session.run("jactionlint", "--profile", "correctness", *WORKFLOWS)


@nox.session
def tests(session: nox.Session) -> None:
    """Bake projects and run their tiers for real."""
    install(session, "test")
    session.run("pytest", "-n", "2", "--dist", "worksteal", *session.posargs, env=BYTECODE)


@nox.session(python=PYTHONS, default=False)
def pythons(session: nox.Session) -> None:
    """Bake with every Python that is supported."""
    install(session, "test")
    session.run("pytest", "-n", "2", "-m", "not slow", *session.posargs, env=BYTECODE)


@nox.session(default=False)
@nox.parametrize("what", [nox.param(name, id=name) for name in BENCHMARKS])
def bench(session: nox.Session, what: str) -> None:
    """Time what a newcomer waits for, and what it costs to keep tests apart."""
    install(session, "test")
    session.run("python", f"benchmarks/{what}.py", *session.posargs)


if __name__ == "__main__":
    nox.main()
