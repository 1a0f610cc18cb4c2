"""Language of the template: banned words, and the help of actions."""

import os
import re

import documents
import pytest
from baking import PROJECT, ROOT, run

TASKS = ROOT / PROJECT / "vendor" / "stratakit" / "src" / "stratakit" / "tasks"
VERBS = {
    *("add", "apply", "autogenerate", "check", "create", "delete", "download", "drop", "format"),
    *(
        "give",
        "list",
        "make",
        "open",
        "plan",
        "print",
        "recreate",
        "remove",
        "rename",
        "report",
        "restart",
        "restore",
    ),
    *(
        "compare",
        "revert",
        "run",
        "save",
        "set",
        "show",
        "start",
        "stop",
        "turn",
        "validate",
        "wait",
    ),
}
"""Verbs that the help of an action may begin with."""
BANNED = {
    r"\bmend(s|ed|ing)?\b": "hint, fix",
    r'"""Say ': "Return, Report, Show",
    r"\bsay --\w": "pass --flag",
    r"twice is as good as once": "safe to run again",
    r"\bdoes not let us in\b": "cannot connect to, refuses connections",
    r"\bis no percentage\b": "is not a number from 0 to 100",
    r"\b(is|are) no (amount|bound|mapped|number|share|time)\b": "is not a number",
    r"\bnobody to ask\b": "standard input is not a terminal",
    r"\bas you wished\b": "cancelled",
    r"\bwhat passes for\b": "name it",
    r"\bwhat it answers to\b": "its routes",
    r'(?m)^ *"""(?:What|Who|Whose|Whom|Which|Those|Of|How|Where|Until)\b': "a noun, or a verb",
    r"\bdef test_(?:what|who|whoever|whose|where|which|how)_": "a noun, the subject",
    r"\bdef test_\w*_(?:told(?!_to_)|anew)": "reported, named; again",
    r"\bOps[A-Z]\w+": "Strata...",
    r"\bverdict\.(py|Part)": "results, TierResult",
}
"""Banned words and phrases, with their replacements."""
LEFT_ALONE = (
    *("CHANGELOG.md", "tests/documents/test_words.py", "tests/project/test_updates.py"),
    f"{PROJECT}/vendor/stratakit/upgrade.py",
)
"""Files that mention former names."""
HELPS = (
    re.compile(r'@task\(.*?\n    """([^\n]*?)(?:""")?\n', re.DOTALL),
    re.compile(r'Action\(\s*"\w+",\s*"([^"]+)"'),
)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The text of each file in git, by its path."""
    listed = run("git", "ls-files", "-z", cwd=ROOT, env=os.environ).stdout
    found = {}
    for name in filter(None, listed.split("\0")):
        if not name.startswith(LEFT_ALONE) and (ROOT / name).is_file():
            try:
                found[name] = (ROOT / name).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    return found


@pytest.mark.parametrize("words", BANNED)
def test_no_file_contains_banned_words(words: str, texts: dict[str, str]) -> None:
    found = [
        f"{name}:{text[: match.start()].count(chr(10)) + 1}: {match[0]}; write: {BANNED[words]}"
        for name, text in texts.items()
        for match in re.finditer(words, text, re.IGNORECASE if words.islower() else 0)
    ]
    assert found == []


BARE = (
    # In workflows, hooks and tasks of an editor.
    re.compile(r"""(?:run|entry|command)"?: *"?((?:nox|invoke)\b.*)"""),
    # In hints of the engine; shell completion runs with the environment active.
    re.compile(r"""["']((?:nox|invoke) (?!completion)[-a-z].*)"""),
)
"""Patterns of a project's commands without `uv run`."""


def test_a_project_runs_nox_and_invoke_only_through_uv_run(texts: dict[str, str]) -> None:
    project = {name: text for name, text in texts.items() if name.startswith(PROJECT)}
    found = [
        f"{name}: {match}"
        for name, text in project.items()
        for pattern in (re.compile(r"\buvx (?:nox|invoke)\b.*"), *BARE)
        for match in pattern.findall(text)
    ]
    for document in documents.of(ROOT / PROJECT):
        lines = [each.line for each in document.commands()]
        found += [line for line in lines if line.startswith(("nox ", "invoke "))]
    assert found == []


def test_the_help_of_each_action_begins_with_an_imperative_verb() -> None:
    texts = [file.read_text(encoding="utf-8") for file in TASKS.glob("*.py")]
    helps = [found for text in texts for pattern in HELPS for found in pattern.findall(text)]
    assert len(helps) >= 30
    assert [each for each in helps if each.split()[0].lower() not in VERBS] == []
