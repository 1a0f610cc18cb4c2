"""Mentions of a service in files, and their renaming.

A service may be called `api` or `items`, so the word alone is not a mention: each row of the table
has the context around it.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from .. import environment, project, tiers
from ..project import Service
from ..pyproject import ROOT


class Mention(NamedTuple):
    """A way to name a service."""

    files: str
    """Glob for paths relative to the project; `OWN` is the folder of the service."""
    before: str
    """Pattern before the name; `TIERS` and `MODULES` match any tier and module."""
    of: str
    """Kind of name: `name`, `package`, `prefix` or `distribution`."""
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
    # Such as "package.module:attribute".
    Mention("*", r"[\"'`]", "package", r"(?=\.(?:MODULES)\b)"),
    # Settings. In Python outside of the service, unquoted words are unrelated names.
    Mention("*[!p][!y]", r"(?<!\w)", "prefix", "(?=[A-Z])"),
    Mention("*.py", r"[\"'`]", "prefix", "(?=[A-Z])"),
    Mention("OWN/*", r"(?<!\w)", "prefix", r"(?=[A-Z\"'])"),
    # Absolute imports only.
    Mention("*.py", r"^ *(?:from|import) ", "package", r"(?=[ .\n])"),
    Mention("OWN/pyproject.toml", r"^(?:package|module-name) = \"", "package", '(?=")'),
    Mention("OWN/*", r"\bThe ", "name", r"(?= service\b)"),
    Mention("OWN/*", r"^NAME = \"|\b(?:suite|fixture)\(\"", "name", '(?=")'),
    Mention("OWN/*", r"[\"']", "name", "(?=:)"),
)
MODULE = Mention("OWN/*.py", "`", "package", "(?=`)")
"""Left out if the service has a module of the same name, which it could mean."""


def prefix(service: Service) -> str:
    """Return a pattern for the prefix of a service's settings, and of no other service's."""
    others = [
        each.prefix
        for each in project.services()
        if each.prefix.startswith(service.prefix) and each.prefix != service.prefix
    ]
    return rf"(?!{'|'.join(others) or '(?!)'}){service.prefix}"


class Renaming:
    """Replacement of a service's names by its new ones."""

    def __init__(self, old: Service, new: Service) -> None:
        """Prepare the patterns to rename the existing service `old` to `new`."""
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
            if row.of == "prefix":
                name = prefix(old)
            self._mentions.append(
                (files, re.compile(f"({before}){name}{after}", re.MULTILINE), wanted)
            )

    def text(self, file: str, text: str) -> str:
        """Return the renamed text of a file; its path is relative to the project."""
        package = self.old.package
        if file.endswith(".py") and re.search(rf"(?m)^ *import {package}(?:\.[\w.]+)?$", text):
            # `import package` binds that name, so its uses are renamed as well.
            text = re.sub(rf"(?<![\w.\"'`/]){package}(?=\.\w)", self.new.package, text)
        for files, pattern, wanted in self._mentions:
            if fnmatchcase(file, files):
                text = pattern.sub(rf"\g<1>{wanted}", text)
        return text

    def left(self, file: str, text: str) -> Iterator[str]:
        """Yield the lines of a renamed text that still have the old name, as FILE:LINE: ..."""
        old = re.compile(rf"(?i)(?<!\w)(?:{self.old.name}|{self.old.package})(?![a-z0-9])")
        others = [each for each in project.services() if self.old.name in each.name]
        names = {name for each in (self.new, *others) for name in (each.name, each.package)}
        known = names - {self.old.name, self.old.package}
        other = re.compile(rf"(?i){'|'.join(sorted(known, key=len, reverse=True))}")
        for number, line in enumerate(text.splitlines(), 1):
            if old.search(other.sub("", line)):
                yield f"{file}:{number}: {line.strip()}"


def text_of(file: str) -> str | None:
    """Return the text of a file that may mention a service or the engine; None for others."""
    if file.startswith("vendor/") or file == environment.LOCK.name:
        return None
    try:
        return (ROOT / file).read_bytes().decode("utf-8")
    except (OSError, ValueError):
        return None
