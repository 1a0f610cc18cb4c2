"""Shared support: a snapshot of the template, bakes of it, its hooks as modules."""

import atexit
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cookiecutter.generate import generate_context
from cookiecutter.main import cookiecutter
from cookiecutter.prompt import prompt_for_config
from cookiecutter.utils import create_env_with_context

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "{{cookiecutter.project_slug}}"
PARTS = ("cookiecutter.json", "hooks", "templates", PROJECT)
SETTINGS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
PROMPTS: dict[str, str | list[str]] = {
    key: value for key, value in SETTINGS.items() if not key.startswith("_")
}
BLANK, INFERENCE = {"starter": "blank"}, {"starter": "inference"}

EXAMPLE = "{{cookiecutter.__inference}}"

CHECKOUT = hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:4]
"""Suffix of this checkout's names: other checkouts have their own servers and databases."""

# Data of `dev` outlives a project: the next run would meet it, possibly with another version.
# Not in pytest's folder: root's servers run as `nobody`, who cannot enter it.
DATA = Path(tempfile.mkdtemp(prefix="strata-", dir="/var/tmp" if os.name == "posix" else None))  # noqa: S108 - newly created
DATA.chmod(0o755)
atexit.register(shutil.rmtree, DATA, ignore_errors=True)

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")

# Variables of the session that runs the tests, or that make a bake depend on the user.
LEAKS = (
    *("UV_", "NOX", "PYTEST_", "COV_", "COVERAGE_", "COOKIECUTTER_", "STRATA_", "GIT_"),
    *("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONPYCACHEPREFIX"),
    *("FORCE_COLOR", "PY_COLORS"),
)
ACCESS = {"UV_CACHE_DIR", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_NATIVE_TLS", "GIT_SSL_CAINFO"}


@dataclass(frozen=True)
class Bake:
    """A baked project."""

    path: Path
    answers: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, isolated from the session that tests it."""
        return run(*command, cwd=self.path, env={**self.environment, **(env or {})}, check=check)

    def files(self) -> Iterator[Path]:
        """Yield the full path of every file of the project."""
        for folder, folders, names in os.walk(self.path):
            folders[:] = sorted(set(folders) - {".git"})
            yield from (Path(folder, name) for name in sorted(names))

    @property
    def service(self) -> str:
        """Name of its first service."""
        given = self.answers.get("service", PROMPTS["service"])
        return "gateway" if self.answers["starter"] == "inference" else str(given)

    def contents(self) -> dict[str, bytes]:
        """Return the content of each file, by its path in the project."""
        return {file.relative_to(self.path).as_posix(): file.read_bytes() for file in self.files()}


class Bakery:
    """Bakes projects, each set of answers once, without touching the user's settings.

    The starter is blank unless the answers say otherwise: the behaviour of its service is known.
    """

    def __init__(self, template: Path, folder: Path, shared: Path | None = None) -> None:
        """Bake `template` into subfolders of `folder`; `shared` is for all processes of a run."""
        self.template = template
        self.folder = folder
        self.shared = shared or folder
        self.config = folder / "config.yaml"
        own = {"COOKIECUTTER_CONFIG": str(self.config), "XDG_DATA_HOME": str(DATA)}
        self.environment = clean_environment(**own)
        # cookiecutter leaves each rendered hook in the temporary folder.
        self.environment_to_bake = {**self.environment, "TMPDIR": str(folder)}
        self._baked: dict[tuple[bool, frozenset[tuple[str, str]]], Bake] = {}
        folder.mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        folders = {key: str(folder / key) for key in ("replay_dir", "cookiecutters_dir")}
        self.config.write_text(json.dumps(folders), encoding="utf-8")

    def __call__(
        self, answers: Mapping[str, str] | None = None, /, *, hooks: bool = True, **more: str
    ) -> Bake:
        """Return the project of the answers; it is shared, so change nothing in it."""
        answers = {**BLANK, **(answers or {}), **more}
        key = (hooks, frozenset(answers.items()))
        if key not in self._baked:
            folder = self.folder / f"bäked {len(self._baked)}"
            self._baked[key] = self.into(folder, answers, hooks=hooks)
        return self._baked[key]

    def into(
        self,
        folder: Path,
        answers: Mapping[str, str] | None = None,
        /,
        *,
        hooks: bool = True,
        overwrite: bool = False,
        **more: str,
    ) -> Bake:
        """Bake an unshared project into `folder`."""
        answers = {**BLANK, **(answers or {}), **more}
        unknown = answers.keys() - SETTINGS.keys()
        assert not unknown, f"cookiecutter would silently ignore {unknown}"
        with temporary(self.folder):
            path = cookiecutter(
                str(self.template),
                no_input=True,
                extra_context=answers,
                output_dir=str(folder),
                config_file=str(self.config),
                accept_hooks=hooks,
                overwrite_if_exists=overwrite,
            )
        return Bake(Path(path), answers, self.environment)


@contextmanager
def temporary(folder: Path) -> Iterator[None]:
    """Put temporary files of this process into a folder: cookiecutter leaves rendered hooks."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def named(name: str) -> dict[str, str]:
    """Return answers with a name, and a slug that no other checkout has."""
    slug = "-".join(name.lower().split())
    return {"project_name": name, "project_slug": f"{slug}-{CHECKOUT}"}


def run(
    *command: str, cwd: Path, env: Mapping[str, str], check: bool = True, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command; if it fails and must not, show its output.

    Without git, as on a newcomer's machine, a test that runs it is skipped.
    """
    if command[0] == "git" and not shutil.which("git"):
        pytest.skip("git is not installed")  # A fake git would prove nothing.
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**env, "PWD": str(cwd)},
        input=typed,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if check:
        assert done.returncode == 0, f"{command} -> {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def git(folder: Path, *arguments: str) -> str:
    """Run git without user settings, and return its output."""
    settings = {"user.name": "T", "user.email": "t@example.org", "init.defaultBranch": "main"}
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    env = clean_environment(GIT_CONFIG_GLOBAL="", GIT_CONFIG_NOSYSTEM="1")
    return run("git", *options, *arguments, cwd=folder, env=env).stdout.strip()


def commit(folder: Path) -> str:
    """Commit everything in `folder`, and return the commit."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "A commit")
    return git(folder, "rev-parse", "HEAD")


def clean_environment(**extra: str) -> dict[str, str]:
    """Return the environment without variables of the session that runs the tests.

    Caches, CA certificates and pip's settings are kept. The tests' own commands come first on PATH.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in ACCESS or not key.startswith(LEAKS)
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return {**kept, "PATH": path, **extra}


def ordinary_user(folder: Path) -> tuple[str, ...]:
    """Return a prefix that runs a command as an ordinary user, who then owns `folder`.

    Root's right to read is kept, since the tests' Python may be in root's home.
    """
    if os.name == "nt" or os.geteuid() or not shutil.which("setpriv"):
        return ()
    os.chown(folder, 65534, 65534)
    only = "-all,+dac_read_search"
    sets = [f"--{name}={only}" for name in ("inh-caps", "ambient-caps", "bounding-set")]
    return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *sets)


def snapshot(folder: Path) -> Path:
    """Copy the template as git sees it, so that later edits and caches do not get into bakes."""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    ignore = shutil.ignore_patterns(*(pattern.rstrip("/") for pattern in ignored))
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=ignore)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, folder / part)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return folder


def is_rendered(name: str, example: str = EXAMPLE) -> bool:
    """Return whether a file of the project is rendered, not copied verbatim.

    Args:
        name: its path in the template; or in a bake, with `example`.
        example: name of the example's folder there.
    """
    kept = (each.replace(EXAMPLE, example) for each in SETTINGS["_copy_without_render"])
    return not any(f"{name}/".startswith(f"{each}/") for each in kept)


def context(template: Path, **answers: str) -> dict[str, Any]:
    """Return cookiecutter's context for the answers."""
    context: dict[str, Any] = generate_context(
        str(template / "cookiecutter.json"), extra_context=answers
    )
    context["cookiecutter"] = prompt_for_config(context, no_input=True)
    return context


def hook(template: Path, name: str, folder: Path, **answers: str) -> ModuleType:
    """Render a hook as cookiecutter does, and import it."""
    values = context(template, **answers)
    source = (template / "hooks" / f"{name}.py").read_text(encoding="utf-8")
    file = folder / f"{name}.py"
    rendered = create_env_with_context(values).from_string(source).render(**values)
    file.write_text(rendered, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
