"""Test discovery: the files that a tier runs, and errors for files that no tier runs."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from baking import Bakery
from project import Change, Changes, Project, replace, write

LIBRARY = '[project]\nname = "acme-money"\nversion = "0.1.0"\n'
TEST = "def test_passes() -> None: ...\n"
GATEWAY = "services/gateway/tests"
MONEY = "libs/money/tests"
OF_SERVICES = ", ".join(f"{GATEWAY}/{tier}" for tier in ("unit", "contracts", "integration"))
OF_LIBRARIES = ", ".join(f"{MONEY}/{tier}" for tier in ("unit", "contracts", "integration"))
OF_NEITHER = (
    "tests/infrastructure or, in a service or library, tests/unit, tests/contracts,"
    " tests/integration"
)
STRAYS = {
    "in a folder of no tier": (f"{GATEWAY}/functional/test_a.py", OF_SERVICES),
    "directly in tests": (f"{GATEWAY}/test_a.py", OF_SERVICES),
    "in a folder that is misspelt": (f"{GATEWAY}/units/test_a.py", OF_SERVICES),
    "in the folder of load scenarios": (f"{GATEWAY}/load/test_a.py", OF_SERVICES),
    "named a_test.py": (f"{GATEWAY}/functional/a_test.py", OF_SERVICES),
    "in a folder of another scope": (f"{GATEWAY}/infrastructure/test_a.py", OF_SERVICES),
    "where a tier's folder is too deep": (f"{GATEWAY}/more/tests/unit/test_a.py", OF_SERVICES),
    "beside the code": ("services/gateway/src/gateway/test_a.py", OF_SERVICES),
    "directly in tests of a library": (f"{MONEY}/test_a.py", OF_LIBRARIES),
    "in a load folder of a library": (f"{MONEY}/load/test_a.py", OF_LIBRARIES),
    "of the repository": ("tests/other/test_a.py", OF_NEITHER),
    "of the repository in a service's folder": ("tests/unit/test_a.py", OF_NEITHER),
    "beside the services": ("services/test_a.py", OF_NEITHER),
    "outside of testpaths": ("scripts/deep/test_a.py", OF_NEITHER),
    "named a_test.py, outside of testpaths": ("tools/a_test.py", OF_NEITHER),
    "at the top of the project": ("test_a.py", OF_NEITHER),
}
HOMELESS = {
    "libs/bare/tests/unit/test_a.py": "give libs/bare a pyproject.toml, without which it is not",
    "services/bare/tests/unit/test_a.py": "give services/bare a pyproject.toml, without which it is"
    " not a service",
}
FINE = (
    f"{GATEWAY}/unit/test_a.py",
    f"{GATEWAY}/unit/deep/test_a.py",
    f"{GATEWAY}/load/locustfile.py",
    f"{MONEY}/integration/test_a.py",
    "tests/infrastructure/test_a.py",
    # Not collected by pytest.
    f"{GATEWAY}/functional/conftest.py",
    f"{GATEWAY}/functional/helpers.py",
    f"{GATEWAY}/functional/test_a.txt",
    f"{GATEWAY}/functional/__pycache__/test_a.py",
    f"{GATEWAY}/.hidden/test_a.py",
    "services/gateway/node_modules/some/test_a.py",
    # Third-party or generated.
    "vendor/stratakit/tests/test_a.py",
    "build/test_a.py",
    "web/node_modules/some/test_a.py",
    ".cache/test_a.py",
)
ELSEWHERE = ("scripts/test_a.py", "services/gateway/src/gateway/test_a.py")
TESTS = {
    "a function": TEST,
    "an async function": "async def test_passes() -> None: ...\n",
    "a class": "class TestIt: ...\n",
    "a class of unittest": "import unittest\n\nclass It(unittest.TestCase): ...\n",
    "an assigned suite": "from stratakit.testing import schema\n\ntest_schema = schema.suite(None)\n",
    "an imported function": "from contracts import test_passes\n",
    "a star import": "from contracts import *\n",
    "a function under a condition": "import sys\n\nif sys.platform:\n    def test_passes() -> None: ...\n",
    "invalid Python": "def test_passes(:\n",
}
NO_TESTS = {
    "nothing": "",
    "helpers": "import json\n\nKNOWN = {}\n\ndef made() -> None:\n    def test_inner() -> None: ...\n",
}
REFUSE = """
import json, sys
from stratakit import discovery, errors, project, tiers
try:
    discovery.refuse_strays([project.package(name) for name in sys.argv[1:]])
    print(json.dumps(["", ""]))
except errors.ConfigurationError as error:
    print(json.dumps([error.message, error.hint]))
"""
FOLDERS = """
import sys
from stratakit import errors, project, tiers
for tier in tiers.load():
    for package in project.packages_of(tier):
        try:
            tests = [each.name for each in project.folders(tier, package)]
        except errors.AbsentError as error:
            tests = [error.status]
        print(f"{tier.name}({package.name})", *tests)
"""


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a library; nothing is installed."""
    baked = bake.into(tmp_path_factory.mktemp("discovery with ä space"))
    library = baked.path / "libs" / "money"
    (library / "tests" / "unit").mkdir(parents=True)
    (library / "pyproject.toml").write_text(LIBRARY, encoding="utf-8")
    (library / "tests" / "unit" / "test_money.py").write_text(TEST, encoding="utf-8")
    sources = {"PYTHONPATH": "vendor/stratakit/src", "PYTHONDONTWRITEBYTECODE": "1"}
    return Project(baked.path, baked.answers, {**baked.environment, **sources})


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes that are reverted after the test."""
    with Changes(project) as changes:
        yield changes


def refusal(project: Project, *packages: str) -> tuple[str, str]:
    """Return the message and the hint for a run of these packages."""
    # Isolated from this session's packages: noxfile.py has only the standard library.
    done = project.run(sys.executable, "-S", "-c", REFUSE, *packages)
    what, hint = json.loads(done.stdout)
    return what, hint


def test_a_fresh_project_has_no_stray_tests(project: Project) -> None:
    assert refusal(project, "gateway", "money", "servicebase") == ("", "")


@pytest.mark.parametrize("stray", STRAYS)
def test_a_stray_test_file_is_reported_with_the_folders_it_may_move_to(
    stray: str, project: Project, changes: Changes
) -> None:
    file, folders = STRAYS[stray]
    changes.write(file, TEST)
    what, hint = refusal(project, "gateway", "money")
    assert what == f"{file} belongs to no tier, so nothing runs its tests"
    assert hint == f"move it to one of the folders {folders}"


@pytest.mark.parametrize("file", HOMELESS)
def test_tests_in_a_folder_without_pyproject_toml_are_reported_with_a_hint(
    file: str, project: Project, changes: Changes
) -> None:
    changes.write(file, TEST)
    what, hint = refusal(project, "gateway")
    assert file in what
    assert hint.startswith(HOMELESS[file])


@pytest.mark.parametrize("file", FINE)
def test_files_that_a_tier_runs_or_pytest_ignores_are_not_strays(
    file: str, project: Project, changes: Changes
) -> None:
    changes.write(file, TEST)
    assert refusal(project, "gateway", "money") == ("", "")


@pytest.mark.parametrize("file", ELSEWHERE)
@pytest.mark.parametrize("what", [*TESTS, *NO_TESTS])
def test_a_file_outside_of_tiers_is_a_stray_only_if_it_may_contain_tests(
    what: str, file: str, project: Project, changes: Changes
) -> None:
    changes.write(file, {**TESTS, **NO_TESTS}[what])
    assert (file in refusal(project, "gateway", "money")[0]) is (what in TESTS)


def test_ignored_files_and_nested_repositories_are_not_strays(
    project: Project, changes: Changes
) -> None:
    changes.hide(".git")
    project.run("git", "init", "--quiet")
    changes.write("scratch/.gitignore", "test_a.py\n")
    for file in ("scratch/test_a.py", "scratch/test_b.py", "cloned/test_a.py", "cloned/.git/HEAD"):
        changes.write(file, TEST)
    what, _ = refusal(project, "gateway", "money")
    assert what == "scratch/test_b.py belongs to no tier, so nothing runs its tests"


def test_a_virtual_environment_in_a_folder_of_tests_has_no_strays(
    project: Project, changes: Changes
) -> None:
    changes.write(f"{GATEWAY}/env/pyvenv.cfg", "")
    changes.write(f"{GATEWAY}/env/lib/some/test_a.py", TEST)
    assert refusal(project, "gateway") == ("", "")


def test_a_package_is_refused_for_its_own_strays_and_for_those_of_no_package(
    project: Project, changes: Changes
) -> None:
    for file in (f"{GATEWAY}/test_a.py", f"{MONEY}/test_a.py", "tests/other/test_a.py"):
        changes.write(file, TEST)
    assert f"{MONEY}/test_a.py" not in refusal(project, "gateway")[0]
    assert f"{GATEWAY}/test_a.py" not in refusal(project, "money")[0]
    for packages in ((), ("gateway",), ("money",)):
        assert "tests/other/test_a.py" in refusal(project, *packages)[0]


def test_strays_of_other_packages_are_ignored_however_testpaths_names_them(
    project: Project, changes: Changes
) -> None:
    changes.replace("pyproject.toml", '"services", "libs"', '"services/*/tests", "libs/money"')
    for file in (f"{GATEWAY}/test_a.py", f"{MONEY}/test_a.py"):
        changes.write(file, TEST)
    assert refusal(project, "gateway")[0].startswith(f"{GATEWAY}/test_a.py belongs")
    assert f"{MONEY}/test_a.py" not in refusal(project, "gateway")[0]
    assert f"{GATEWAY}/test_a.py" not in refusal(project, "money")[0]


def test_only_the_first_ten_of_many_strays_are_named(project: Project, changes: Changes) -> None:
    for number in range(12):
        changes.write(f"{GATEWAY}/functional/test_{number:02}.py", TEST)
    what, _ = refusal(project, "gateway")
    assert f"{GATEWAY}/functional/test_09.py" in what
    assert what.endswith("\nand 2 more")


@dataclass(frozen=True)
class Setting:
    """A setting of pytest, and its effect on a file."""

    change: Change
    file: str
    is_stray: bool


SETTINGS = {
    "a custom pattern": Setting(
        replace("pyproject.toml", "[tool.pytest]", '[tool.pytest]\npython_files = ["check_*.py"]'),
        f"{GATEWAY}/functional/check_a.py",
        is_stray=True,
    ),
    "a default pattern that was replaced": Setting(
        replace("pyproject.toml", "[tool.pytest]", '[tool.pytest]\npython_files = ["check_*.py"]'),
        f"{GATEWAY}/functional/test_a.py",
        is_stray=False,
    ),
    "patterns in the other table, as one text": Setting(
        write(
            "pyproject.toml",
            '[tool.stratakit]\nproject = "acme"\n'
            '[tool.pytest.ini_options]\npython_files = "check_*.py other_*.py"\n',
        ),
        f"{GATEWAY}/functional/other_a.py",
        is_stray=True,
    ),
    "a pattern with a folder": Setting(
        replace(
            "pyproject.toml", "[tool.pytest]", '[tool.pytest]\npython_files = ["functional/*.py"]'
        ),
        f"{GATEWAY}/functional/a.py",
        is_stray=True,
    ),
    "a folder in norecursedirs": Setting(
        replace("pyproject.toml", "[tool.pytest]", '[tool.pytest]\nnorecursedirs = ["functional"]'),
        f"{GATEWAY}/functional/test_a.py",
        is_stray=False,
    ),
    "a folder in testpaths": Setting(
        replace("pyproject.toml", '"tests"]', '"tests", "e*ras"]'),
        "extras/test_a.py",
        is_stray=True,
    ),
    "no testpaths": Setting(
        replace("pyproject.toml", "testpaths =", "#"), "extras/test_a.py", is_stray=True
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_settings_of_pytest_decide_which_files_are_tests(
    name: str, project: Project, changes: Changes
) -> None:
    setting = SETTINGS[name]
    setting.change(changes)
    changes.write(setting.file, TEST)
    assert (setting.file in refusal(project, "gateway")[0]) is setting.is_stray


def test_each_tier_has_sessions_for_all_services_and_for_libraries_with_tests(
    project: Project, changes: Changes
) -> None:
    changes.write("libs/untested/pyproject.toml", LIBRARY)
    # Leftovers of a branch that had tests there.
    changes.hide(f"{GATEWAY}/load")
    for left in (f"{GATEWAY}/load/__pycache__/locustfile.pyc", f"{MONEY}/integration/deep/.keep"):
        changes.write(left, "")
    done = project.run(sys.executable, "-S", "-c", FOLDERS)
    assert done.stdout.splitlines() == [
        "unit(gateway) unit contracts",
        "unit(money) unit",
        "unit(servicebase) unit contracts",
        "integration(gateway) integration contracts",
        "integration(servicebase) integration contracts",
        "load(gateway) absent",
    ]
