#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2026.8.10"]
# ///
"""The template's own tiers: `nox` runs static, tests and engine; `nox -l` lists all.

A baked project has its own tiers; the tests here run those too. Plain `nox` tests the template
in minutes. Longer tests are proofs, each with its own session: `nox -s "proof(NAME)"`.
`nox -s sample` runs some tests of each, by a seed that it prints, or `--sample SEED` after `--`.
"""

import secrets
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2026.8.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"

PYPROJECT = nox.project.load_toml("pyproject.toml")
BENCHMARKS = ["first_run", "gateway", "isolation"]
# A test names its proof with `@pytest.mark.proof(of=NAME)`;
# docs/maintaining.md says what each shows.
PROOFS = [
    "adopting",
    "answers",
    "clients",
    "cloud",
    "documents",
    "engine-docker",
    "engine-embedded",
    "example",
    "infrastructure",
    "load",
    "newcomer",
    "outcomes",
    "page",
    "personas",
    "places",
    "services",
    "stack",
    "troubles",
    "updates",
    "workflows",
]
WORKFLOWS = sorted(map(str, Path(".github/workflows").glob("*.yml")))
DEPENDABOT = ".github/dependabot.yml"
# Checked here, since bakes exclude it from their checks.
ENGINE = Path("{{cookiecutter.project_slug}}", "vendor", "stratakit")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# Allow bytecode even where a container forbids it, or every process recompiles everything; in a
# folder of its own, because beside the sources it would be baked with them.
BYTECODE = {
    "PYTHONDONTWRITEBYTECODE": None,
    "PYTHONPYCACHEPREFIX": str(Path(__file__).parent / ".nox" / "bytecode"),
}


def install(session: nox.Session, *groups: str) -> None:
    """Install dependency groups of the template."""
    session.install(*nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session
def static(session: nox.Session) -> None:
    """Check the template's own code, the engine and the workflows: format, lint, types."""
    install(session, "static")
    # The engine's own settings exclude it from ruff, for projects where it is vendored.
    for where in ((".",), (str(ENGINE), "--config", "exclude = []")):
        session.run("ruff", "format", "--check", *where)
        session.run("ruff", "check", *where)
    session.run("pyrefly", "check", "--min-severity=error")
    manifest = nox.project.load_toml(ENGINE / "pyproject.toml")
    types = nox.project.dependency_groups(manifest, "static")
    session.install(*manifest["project"]["dependencies"], *types)
    with session.chdir(ENGINE):
        session.run("pyrefly", "check", "--min-severity=error", "src", "upgrade.py")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", DEPENDABOT)
    session.run("zizmor", "--offline", "--no-progress", *WORKFLOWS, DEPENDABOT)
    session.run("jactionlint", "--profile", "correctness", *WORKFLOWS)


def has_images() -> bool:
    """Return whether Docker is running and has the servers' images."""
    command = ("docker", "image", "inspect", "postgres:17-alpine", "redis:8-alpine")
    docker = shutil.which("docker")
    return (
        bool(docker) and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def pytest(session: nox.Session, *words: str) -> None:
    """Run tests of the template; tests of one file share a project, and so a worker."""
    install(session, "test", "browser")
    # xdist would otherwise start with the files with the most tests, which are not the slowest.
    how = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    session.run("pytest", *how, *words, env=BYTECODE)


def on(source: str, session: nox.Session, *words: str) -> None:
    """Run the engine's own tests in one environment, on one source of servers."""
    install(session, "test")
    link = "services/gateway/tests/integration/engine"
    # Quoted, since pytest splits it at spaces, which the checkout's path may contain.
    support = shlex.quote(str(Path(__file__).parent / "tests" / "support"))
    named = [word.replace("tests/engine", link) for word in words]
    # Outside the checkout, where a linked worktree changes database names; short, for Unix sockets.
    with tempfile.TemporaryDirectory(prefix="engine-") as scratch:
        session.run(
            "python", "tests/support/host.py", f"{scratch}/{source}", env=BYTECODE, silent=True
        )
        (service,) = Path(scratch).glob("*/*/services/gateway")
        project = service.parents[1]
        session.install(
            *("-e", f"{project}/vendor/stratakit", "-e", f"{service}"),
            *("--group", f"{service}/pyproject.toml:test"),
            *("--group", f"{service}/pyproject.toml:load"),
        )
        with session.chdir(project):
            session.run(
                *("pytest", "--tier", "integration", "--home", "services/gateway"),
                *("--basetemp", f"{scratch}/t", "-n", "4", "--dist", "loadfile"),
                *("-o", f"pythonpath={support}"),
                *(named if any(link in word for word in named) else (link, *named)),
                env={**BYTECODE, "STRATA_SERVERS": source},
            )


@nox.session
def tests(session: nox.Session) -> None:
    """Test the template in minutes: the content of bakes, and the tiers of one."""
    pytest(session, "-m", "not proof", *session.posargs)


@nox.session
def engine(session: nox.Session) -> None:
    """Run the engine's quick tests, in one environment and on embedded servers."""
    on("embedded", session, *(session.posargs or ("--quick",)))


@nox.session(default=False)
@nox.parametrize("what", [nox.param(name, id=name) for name in PROOFS])
def proof(session: nox.Session, what: str) -> None:
    """Run all tests of a proof, or some of them with `--sample SEED`."""
    _, ours, source = what.partition("engine-")
    if source == "docker" and not has_images():
        session.skip("no Docker engine with the images: the same tests run on embedded servers")
    if ours:
        on(source, session, *session.posargs)
    else:
        pytest(session, "-m", f"proof(of={what!r})", *session.posargs)


@nox.session(default=False)
def sample(session: nox.Session) -> None:
    """Run some tests of each proof, selected by a printed seed."""
    given = any(word.startswith("--sample") for word in session.posargs)
    seed = () if given else ("--sample", secrets.token_hex(3))
    words = (*seed, *session.posargs)
    session.log(f"run these tests again: uvx nox -s sample -- {shlex.join(words)}")
    for source in ("embedded", "docker"):
        session.notify(f"proof(engine-{source})", words)
    pytest(session, "-m", "proof", *words)


@nox.session(python=PYTHONS, default=False)
def pythons(session: nox.Session) -> None:
    """Bake with every supported Python."""
    pytest(session, "-m", "not slow and not proof", *session.posargs)


@nox.session(default=False)
@nox.parametrize("what", [nox.param(name, id=name) for name in BENCHMARKS])
def bench(session: nox.Session, what: str) -> None:
    """Measure a newcomer's first run, the gateway, and the cost of isolating tests."""
    install(session, "test")
    session.run("python", f"benchmarks/{what}.py", *session.posargs)


if __name__ == "__main__":
    nox.main()
