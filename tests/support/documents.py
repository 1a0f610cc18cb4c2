"""Contents of documents: blocks, commands, links, printed output."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_NOTE = re.compile(r"<!-- (?:(?P<kind>file|needs): )?(?P<text>.*?) -->")
_FENCE = re.compile(r"```(?P<language>\w*)")
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_PLACEHOLDER = re.compile(r"\b[A-Z][A-Z.-]+\b")

HEADS = ("uv run ", "uv add ", "uv init ", "uv lock", "uv sync ", "uvx ", "nox ", "invoke ")
"""Beginnings of commands to recognise in running text."""
ELSEWHERE = {
    "uv run invoke engine.eject": "project/test_vendored.py",
    "uv run invoke ci.": "project/test_workflows.py",
    "uv run invoke cloud.": "engine/test_cloud.py",
    "uv run invoke deploy.": "bake/test_deploy.py",
    "uv run invoke load.": "project/test_load_machines.py",
    "uv run invoke report.": "project/test_reports.py",
    "uv run invoke service.add": "project/test_services.py",
    "uv run invoke service.remove": "project/test_services.py",
    "uv run invoke service.rename": "project/test_services.py",
    "uv run invoke service.run": "project/test_stack.py",
    "uv run pytest": "project/test_tiers.py",
    "uv sync --all-packages --all-groups --reinstall": "project/test_places.py",
    "uvx cruft update": "bake/test_provenance.py",
    "uv run nox -s coverage": "project/test_coverage.py",
    "uv run nox -s load": "project/test_exit_codes.py",
    "uv run nox": "project/test_tiers.py",
}
"""Tests of commands that take long, never end or need the template, by prefix."""
NOUNS = ("db", "stack", "service", "infra", "cloud", "clouds", "ci", "deploy", "report")
"""Collections of tasks, which documents often name without `uv run invoke`: `db.clean`."""


@dataclass(frozen=True)
class Block:
    """A fenced block, with the comment above it."""

    language: str
    text: str
    kind: str = ""
    note: str = ""

    @property
    def commands(self) -> list[str]:
        """Lines to type."""
        lines = self.text.splitlines() if self.language == "console" else []
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@dataclass(frozen=True)
class Command:
    """A command in a document."""

    line: str
    document: str
    in_block: bool = False
    """Whether readers who follow the document from top to bottom type it."""
    needs: str = ""
    """Requirement that tests cannot meet; such a command is only parsed."""

    @property
    def words(self) -> list[str]:
        """Its words, without leading variables and the program that runs it."""
        bare = re.sub(r"^([A-Z_]+=\S+ )*(uvx |uv run (--group test )?)?", "", self.line)
        # Drop redirections of its output.
        return shlex.split(re.split(r" [|>] ", bare)[0])

    @property
    def is_pattern(self) -> bool:
        """Whether it contains a placeholder, such as NAME."""
        return any(_PLACEHOLDER.search(word) for word in self.words)

    @property
    def elsewhere(self) -> str | None:
        """The file with the tests that run it, if following the document does not."""
        bare = re.sub(r"^([A-Z_]+=\S+ )+", "", self.line)
        return next((file for start, file in ELSEWHERE.items() if bare.startswith(start)), None)

    def after(self, program: str, known: str) -> list[str]:
        """Return the arguments of a program, with `known` for placeholders; empty for other programs."""
        first, *others = self.words
        return [_PLACEHOLDER.sub(known, word) for word in others if first == program]


@dataclass(frozen=True)
class Document:
    """A Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """Its name, with the folder if it belongs to a service."""
        folder = self.path.parent
        return (
            f"{folder.name}/{self.path.name}"
            if folder.parent.name == "services"
            else self.path.name
        )

    @cached_property
    def text(self) -> str:
        """Its text."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        """Its fenced blocks, in order."""
        found = []
        lines = iter(self.text.splitlines())
        note = None
        for line in lines:
            if fence := _FENCE.match(line):
                body = []
                while (inner := next(lines)) != "```":
                    body.append(inner)
                said = (note["kind"] or "", note["text"]) if note else ("", "")
                found.append(Block(fence["language"], "\n".join(body), *said))
            note = _NOTE.match(line)
        return found

    @cached_property
    def prose(self) -> str:
        """Its text outside of fenced blocks."""
        return re.sub(r"^```.*?^```$", "", self.text, flags=re.DOTALL | re.MULTILINE)

    def commands(self) -> Iterator[Command]:
        """Yield the commands of blocks, then those in the text."""
        for block in self.blocks:
            needs = block.note if block.kind == "needs" else ""
            for line in block.commands:
                for part in line.split(" && "):
                    yield Command(part, self.name, in_block=True, needs=needs)
        others = "|".join(NOUNS)
        for text in _INLINE.findall(self.prose):
            bare = re.sub(r"^([A-Z_]+=\S+ )+", "", text)
            if re.match(rf"({others})\.(?!(py|yml)\b)[a-z]+\b", bare):
                yield Command(f"uv run invoke {text}", self.name)
            elif bare.startswith(HEADS) and "*" not in bare:
                yield Command(text, self.name)

    def shown(self) -> Iterator[tuple[str, str]]:
        """Yield each command whose output is shown, and the output."""
        pattern = r"<!-- (uv run .*?) -->\n(?:```\w+\n(.*?)\n```|(.*?)\n(?:\n|\Z))"
        for command, fenced, plain in re.findall(pattern, self.text, re.DOTALL):
            yield command, fenced or plain

    def broken_links(self) -> list[str]:
        """Return the links to missing files and headings."""
        broken = []
        for link in _LINK.finditer(self.prose):
            target = self.path.parent / link["path"] if link["path"] else self.path
            known = _anchors(target) if target.suffix == ".md" and target.exists() else set()
            if not target.exists() or (link["anchor"] and link["anchor"] not in known):
                broken.append(link[0])
        return broken


def of(folder: Path) -> list[Document]:
    """Return the documents of a project, README first."""
    patterns = ("*.md", "docs/**/*.md", "services/*/*.md", "vendor/*/**/*.md")
    found = [Document(path) for pattern in patterns for path in sorted(folder.glob(pattern))]
    return sorted(found, key=lambda document: document.name != "README.md")


def _anchors(file: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a file."""
    headings = re.findall(r"^#+ (.*)$", Document(file).prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each).strip().lower().replace(" ", "-") for each in headings}
