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


def test_more_files_than_one_command_line_takes_are_all_looked_at() -> None:
    files = [f"{'deep/' * 40}{number}.txt" for number in range(20_000)]
    assert sum(map(len, files)) > 4_000_000
    assert found(LISTS, files) == (Code.FAILED, files)


def test_a_file_that_is_called_as_an_option_is_a_file() -> None:
    assert found(LISTS, ["-x.py", "a/-y.py"]) == (Code.FAILED, ["./-x.py", "a/-y.py"])


def test_a_tool_whose_workers_do_not_start_is_run_without_them() -> None:
    fails = "import sys; sys.exit('no worker' if '--workers' in sys.argv else 0)"
    command = ("python", "-c", fails, "--workers", "{files}")
    alone = Check("workers", ("*",), command, hint="", retry=("no worker", ("--workers",)))
    assert found(alone, ["a"]) == (Code.PASSED, [])
    assert found(replace(alone, retry=None), ["a"]) == (Code.FAILED, ["no worker"])


def test_what_an_update_could_not_merge_is_found() -> None:
    [rejects] = [each for each in CHECKS if each.name == "rejects"]
    assert found(rejects, ["noxfile.py"]) == (Code.PASSED, [])
    left = ["noxfile.py.rej", "services/gateway/pyproject.toml.orig"]
    assert found(rejects, ["noxfile.py", *left]) == (Code.FAILED, left)
    # For a commit, the hook passes only the files in it.
    assert found(rejects, ["noxfile.py", *left], ["noxfile.py"]) == (Code.FAILED, left)
