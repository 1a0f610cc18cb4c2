"""Files that a static check receives, and how."""

from dataclasses import replace

from stratakit.errors import Code
from stratakit.static.checks import CHECKS, Check
from stratakit.static.runner import outcomes

# It fails, so that its output is shown.
NAMES = "import sys; print(*sys.argv[1:], sep='\\n'); sys.exit(1)"
LISTS = Check("lists", ("*",), ("python", "-c", NAMES, "{files}"), hint="")


def found(
    check: Check, files: list[str], chosen: list[str] | None = None
) -> tuple[Code, list[str]]:
    [outcome] = outcomes([check], files, files if chosen is None else chosen, fix=False)
    return outcome.code, outcome.found.splitlines()


def test_all_files_are_checked_even_if_they_exceed_one_command_line() -> None:
    files = [f"{'deep/' * 40}{number}.txt" for number in range(20_000)]
    assert sum(map(len, files)) > 4_000_000
    assert found(LISTS, files) == (Code.FAILED, files)


def test_a_file_named_like_an_option_is_passed_as_a_path() -> None:
    assert found(LISTS, ["-x.py", "a/-y.py"]) == (Code.FAILED, ["./-x.py", "a/-y.py"])


def test_a_check_of_the_whole_project_gets_all_its_files_if_any_is_given() -> None:
    whole = replace(LISTS, whole=True)
    assert found(whole, ["a.py", "b.py"], ["a.py"]) == (Code.FAILED, ["a.py", "b.py"])
    assert found(LISTS, ["a.py", "b.py"], ["a.py"]) == (Code.FAILED, ["a.py"])


def test_a_tool_that_is_killed_is_an_infrastructure_error() -> None:
    dies = "import os; print('begun', flush=True); os.kill(os.getpid(), 9)"
    killed = Check("kills", ("*",), ("python", "-c", dies), hint="")
    assert found(killed, ["a"]) == (
        Code.INFRASTRUCTURE,
        ["begun", "python was killed by signal 9"],
    )


def test_files_left_by_a_failed_merge_of_an_update_are_found() -> None:
    [rejects] = [each for each in CHECKS if each.name == "rejects"]
    assert found(rejects, ["noxfile.py"]) == (Code.PASSED, [])
    left = ["noxfile.py.rej", "services/gateway/pyproject.toml.orig"]
    assert found(rejects, ["noxfile.py", *left]) == (Code.FAILED, left)
    # For a commit, the hook passes only the files in it.
    assert found(rejects, ["noxfile.py", *left], ["noxfile.py"]) == (Code.FAILED, left)
