"""Where files name a service, and the same texts with another name.

A service may be called `api` or `items`, so the word alone is no mention: each row of the table has
what stands around it.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from .. import tiers
from ..project import Service


class Mention(NamedTuple):
    """A way to name a service."""

    files: str
    """A glob over paths relative to the project; `OWN` is the folder of the service."""
    before: str
    """What stands before the name; `TIERS` and `MODULES` are those that there are."""
    of: str
    """Which of its names it is: `name`, `package`, `prefix` or `distribution`."""
    after: str = r"(?![\w-])"


MENTIONS = (
    Mention("*", r"(?<![\w-])services/", "name"),
    Mention("*", r"(?<![\w-])", "distribution"),
    Mention("*", r"\b(?:TIERS)\(", "name", r"(?=\))"),
    Mention(
        "*",
        r"--service[ =]|\bservice\.run |\bload\.(?:master|worker) |\bdeploy\.render "
        r"|--image [\w./-]+/|\bdeployment/",
        "name",
    ),
    Mention("*", r"\bsrc/|\bpython -m |\"-m\", \"|db-setup\.invalid/", "package"),
    Mention("*", r"\bthe service `", "name", "(?=`)"),
    # As in "package.module:attribute".
    Mention("*", r"[\"'`]", "package", r"(?=\.(?:MODULES)\b)"),
    # Settings. In the Python of others, words without quotes are names of their own.
    Mention("*[!p][!y]", r"(?<!\w)", "prefix", "(?=[A-Z])"),
    Mention("*.py", r"[\"'`]", "prefix", "(?=[A-Z])"),
    Mention("OWN/*", r"(?<!\w)", "prefix", r"(?=[A-Z\"'])"),
    # Imports; a relative one is of something else.
    Mention("*.py", r"^ *(?:from|import) ", "package", r"(?=[ .\n])"),
    Mention("OWN/pyproject.toml", r"^(?:package|module-name) = \"", "package", '(?=")'),
    Mention("OWN/*", r"\bThe ", "name", r"(?= service\b)"),
    Mention("OWN/*", r"^NAME = \"|\b(?:suite|fixture)\(\"", "name", '(?=")'),
    Mention("OWN/*", r"[\"']", "name", "(?=:)"),
)
MODULE = Mention("OWN/*.py", "`", "package", "(?=`)")
"""It may be the one of the modules that has the same name, where there is one."""


class Renaming:
    """What turns the mentions of a service into those of the same one under another name."""

    def __init__(self, old: Service, new: Service) -> None:
        """Prepare to call the service `old`, which is there, as `new` is called."""
        self.old, self.new = old, new
        modules = {each.stem for each in (old.path / "src" / old.package).glob("[a-z]*")}
        places = {
            "TIERS": "|".join(each.name for each in tiers.load()),
            "MODULES": "|".join(sorted(modules)) or "(?!)",
            "OWN": f"services/{old.name}",
        }
        self._mentions: list[tuple[str, re.Pattern[str], str]] = []
        for row in MENTIONS if old.package in modules else (*MENTIONS, MODULE):
            files, before, after = row.files, row.before, row.after
            for place, text in places.items():
                files, before, after = (
                    each.replace(place, text) for each in (files, before, after)
                )
            name, wanted = (str(getattr(each, row.of)) for each in (old, new))
            self._mentions.append(
                (files, re.compile(f"({before}){name}{after}", re.MULTILINE), wanted)
            )

    def text(self, file: str, text: str) -> str:
        """Return the text of a file, whose path is relative to the project, renamed."""
        package = self.old.package
        if file.endswith(".py") and re.search(rf"(?m)^ *import {package}(?:\.[\w.]+)?$", text):
            # It is bound by its own name.
            text = re.sub(rf"(?<![\w.\"'`/]){package}(?=\.\w)", self.new.package, text)
        for files, pattern, wanted in self._mentions:
            if fnmatchcase(file, files):
                text = pattern.sub(rf"\g<1>{wanted}", text)
        return text

    def left(self, file: str, text: str) -> Iterator[str]:
        """Yield the lines of a renamed text that have the old name as a word, as FILE:LINE: ..."""
        old = re.compile(rf"(?i)(?<!\w)(?:{self.old.name}|{self.old.package})(?![a-z0-9])")
        new = re.compile(rf"(?i){self.new.name}|{self.new.package}")
        for number, line in enumerate(text.splitlines(), 1):
            if old.search(new.sub("", line)):
                yield f"{file}:{number}: {line.strip()}"
