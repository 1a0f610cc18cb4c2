"""Versions of a project: three settings, and a check of all other places that name them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from baking import PROMPTS, Bake, Bakery, commit

KEYS = 'python = "3.13"\noldest_python = "3.11"\n'
POSTGRES = 'postgres = "17"\n'
PLACES = {
    "services/gateway/Dockerfile": ("ARG PYTHON=3.13", "ARG PYTHON=3.12"),
    ".devcontainer/devcontainer.json": ("devcontainers/python:3.13", "devcontainers/python:3.14"),
    "services/gateway/pyproject.toml": ('= ">=3.11"', '= ">=3.12"'),
    "libs/servicebase/pyproject.toml": ('= ">=3.11"', '= ">= 3.10"'),
    "pyproject.toml": ('target-version = "py311"', 'target-version = "py312"'),
    "compose.yaml": ("image: postgres:17-alpine", "image: postgres:16-alpine"),
    "noxfile.py": ('# requires-python = ">=3.11"', '# requires-python = ">=3.12"'),
}
"""Places in each bake: the correct text, and a wrong one."""
OWN = {
    ".python-version": ("3.13.1\n", "3.12.1\n"),
    "Dockerfile": ("FROM python:3.13-slim\n", "FROM python:3.12-slim\n"),
    "compose.override.yaml": ("    image: python:3.13\n", "    image: python:3.12\n"),
    ".github/workflows/own.yml": ('  python-version: "3.13"\n', '  python-version: "3.12"\n'),
    ".github/workflows/pull.yml": (
        "  run: docker pull postgres:17-alpine\n",
        "  run: docker pull postgres:18-alpine\n",
    ),
    "services/gateway/compose.yaml": (
        '    image: "pgvector/pgvector:pg17"\n',
        '    image: "pgvector/pgvector:pg18"\n',
    ),
    ".devcontainer/compose.yaml": (
        "    image: postgis/postgis:17-3.5\n",
        "    image: postgis/postgis:16-3.5\n",
    ),
    "pyrefly.toml": ('python-version = "3.11"\n', 'python-version = "3.12"\n'),
}
"""Places that a team may add."""


@pytest.fixture
def project(bake: Bakery, tmp_path: Path) -> Bake:
    """A project to change."""
    baked = bake()
    path = shutil.copytree(baked.path, tmp_path / "project")
    for name, (text, _) in OWN.items():
        (path / name).write_text(text)
    return Bake(path, baked.answers, baked.environment)


def check(project: Bake, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the check on all files that are not vendored."""
    files = [file.relative_to(project.path).as_posix() for file in project.files()]
    chosen = [name for name in files if not name.startswith("vendor/")]
    code = project.path / "vendor/stratakit/src"
    command = (sys.executable, "-B", "-m", "stratakit.static.versions", *options, *chosen)
    return project.run(*command, env={"PYTHONPATH": str(code)}, check=False)


@pytest.mark.parametrize("python", PROMPTS["python"])
@pytest.mark.parametrize("starter", PROMPTS["starter"])
def test_a_fresh_bake_names_the_same_python_everywhere(
    python: str, starter: str, bake: Bakery
) -> None:
    done = check(bake(python=python, starter=starter))
    assert (done.returncode, done.stdout) == (0, "")


def test_a_bake_with_a_recorded_postgresql_major_names_it_everywhere(bake: Bakery) -> None:
    # Updates bake with the recorded version, even once the template's default is newer.
    baked = bake(__postgres="16")
    done = check(baked)
    assert (done.returncode, done.stdout) == (0, "")
    assert "image: postgres:16-alpine\n" in (baked.path / "compose.yaml").read_text()


def test_an_update_that_adds_the_postgres_setting_keeps_the_projects_major(project: Bake) -> None:
    manifest, images = project.path / "pyproject.toml", project.path / "compose.yaml"
    text = manifest.read_text()
    manifest.write_text(text.replace(POSTGRES, ""))
    images.write_text(images.read_text().replace("postgres:17", "postgres:16"))
    commit(project.path)
    # The state after an update.
    manifest.write_text(text)
    upgrade = (sys.executable, "vendor/stratakit/upgrade.py")
    assert "postgres in pyproject.toml is 16" in project.run(*upgrade).stdout
    assert manifest.read_text() == text.replace(POSTGRES, 'postgres = "16"\n')
    # Once committed, the setting is the team's: it is kept even if it differs from the images.
    commit(project.path)
    manifest.write_text(text)
    assert "postgres in" not in project.run(*upgrade).stdout
    assert manifest.read_text() == text


@pytest.mark.parametrize(("file", "texts"), [*PLACES.items(), *OWN.items()])
def test_a_differing_version_is_reported_with_its_place_and_fixed(
    file: str, texts: tuple[str, str], project: Bake
) -> None:
    right, wrong = texts
    before = (project.path / file).read_text()
    assert right in before
    line = before.partition(right)[0].count("\n") + 1
    (project.path / file).write_text(before.replace(right, wrong))
    done = check(project)
    assert done.returncode == 1
    keys = {"17": "postgres is 17", "11": "oldest_python is 3.11", "13": "python is 3.13"}
    key = next(said for version, said in keys.items() if version in right)
    assert re.match(rf"{file}:{line}: \d", done.stdout)
    assert done.stdout.endswith(f", but {key}\n")
    assert done.stdout.count("\n") == 1
    assert check(project, "--fix").returncode == 0
    assert (project.path / file).read_text().replace(">= ", ">=") == before


def test_after_one_edit_the_fix_changes_python_everywhere(project: Bake) -> None:
    manifest = project.path / "pyproject.toml"
    text = manifest.read_text()
    assert KEYS in text
    manifest.write_text(text.replace(KEYS, 'python = "3.14"\noldest_python = "3.12"\n'))
    named = {line.partition(":")[0] for line in check(project).stdout.splitlines()}
    assert named == {file for file, (right, _) in {**PLACES, **OWN}.items() if "17" not in right}
    assert check(project, "--fix").returncode == 0
    assert 'target-version = "py312"' in manifest.read_text()
    assert "ARG PYTHON=3.14\n" in (project.path / "services/gateway/Dockerfile").read_text()


def test_after_one_edit_the_fix_changes_the_postgresql_major_everywhere(project: Bake) -> None:
    manifest = project.path / "pyproject.toml"
    text = manifest.read_text()
    assert POSTGRES in text
    manifest.write_text(text.replace(POSTGRES, 'postgres = "18"\n'))
    assert check(project).returncode == 1
    assert check(project, "--fix").returncode == 0
    for file, (right, _) in {**PLACES, **OWN}.items():
        assert right.replace("17", "18") in (project.path / file).read_text()


def test_a_classifier_below_the_oldest_python_is_reported_but_not_fixed(project: Bake) -> None:
    manifest = project.path / "libs/servicebase/pyproject.toml"
    listed = ", ".join(f'"Programming Language :: Python :: 3.{n}"' for n in (10, 11, 12))
    text = manifest.read_text().replace("[project]", f"[project]\nclassifiers = [{listed}]")
    manifest.write_text(text)
    for options in ((), ("--fix",)):
        done = check(project, *options)
        assert done.returncode == 1
        assert "libs/servicebase/pyproject.toml:6: 3.10, but oldest_python is 3.11" in done.stdout
        assert manifest.read_text() == text


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('python = "3.11"\noldest_python = "3.12"\n', "which is older than oldest_python"),
        ('postgres = "17.2"\n', "is '17.2', not a major version"),
        ("postgres = 17\n", "is 17, not a major version"),
        ("python = 3.13\n", "python in [tool.stratakit] of pyproject.toml is 3.13, not a version"),
    ],
)
def test_invalid_versions_in_the_settings_are_a_configuration_error(
    keys: str, says: str, project: Bake
) -> None:
    manifest = project.path / "pyproject.toml"
    before = KEYS if "python" in keys else POSTGRES
    manifest.write_text(manifest.read_text().replace(before, keys))
    done = check(project)
    assert done.returncode == 3
    assert says in done.stderr
