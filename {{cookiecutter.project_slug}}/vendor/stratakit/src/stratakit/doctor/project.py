"""The repository: its services, its tests, git and where it came from."""

import json

from .. import discovery, environment, project, pyproject
from .. import hooks as git_hooks
from .. import tiers as table
from ..errors import AbsentError, ConfigurationError, InfrastructureError
from ..pyproject import ROOT
from ..tiers import Tier
from .run import ask, version

HINT = "uv run invoke setup"


def services() -> str:
    """Look at the registry: the pyproject.toml of each service and of each library with tests."""
    pyproject.table()
    project.packages()
    found = project.services()
    if not found:
        raise AbsentError("there is no service in services/", "uv run invoke service.add NAME")
    said = [f"{each.name} ({', '.join(each.needs) or 'needs nothing'})" for each in found]
    return ", ".join([*said, *(f"the library {each.name}" for each in project.libraries())])


def tiers() -> str:
    """Look at the table of tiers, which is the engine's and the project's."""
    own = {each.name for each in table.defaults()}
    names = [each.name if each.name in own else f"{each.name} (added)" for each in table.load()]
    return ", ".join(names)


def tests(tier: Tier) -> str:
    """Look for the folders that hold a tier's tests."""
    found = [
        folder
        for each in project.packages_of(tier) or (None,)
        for folder in project.folders(tier, each)
    ]
    return ", ".join(f"{folder.relative_to(ROOT).as_posix()}/" for folder in found)


def strays() -> str:
    """Look for tests that no tier would run."""
    discovery.refuse_strays(project.packages())
    return "a tier runs each"


def git() -> str:
    """Look at git and the repository."""
    found = version("git", "--version", hint="install git, then: uv run invoke setup")
    if ask("git", "rev-parse", "--git-dir").returncode:
        raise InfrastructureError("the project is in no git repository", HINT)
    return f"{found.removeprefix('git version ')}, and a repository"


def hooks() -> str:
    """Look at the hooks that .pre-commit-config.yaml wants, and at what they run."""
    installed = git_hooks.look()
    version("uv", "--version", hint="python3 -m pip install uv")
    python = str(environment.python(environment.VENV))
    runs = version(python, "-B", "-m", "pre_commit", "--version", hint=HINT)
    return f"{installed}, run by {runs}"


def template() -> str:
    """Look at the record of the template that the project was baked from."""
    file = ROOT / ".cruft.json"
    if not file.exists():
        raise InfrastructureError(
            "there is no .cruft.json, so updates of the template cannot be had",
            "uvx cruft link URL-OF-THE-TEMPLATE",
        )
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return f"{record['template']} at {record['commit'][:7]}"
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigurationError(
            f".cruft.json cannot be read: {type(error).__name__}: {error}",
            "git checkout .cruft.json",
        ) from error
