"""Ejection of the vendored engine into a package of the team's own."""

from pathlib import Path

from .. import environment, limits, manifest, programs
from ..errors import ConfigurationError
from ..pyproject import ROOT
from ..static.runner import project_files
from .mentions import text_of

VENDORED, OWN = Path("vendor", "stratakit"), Path("engine")

EDITS: tuple[tuple[str, str, str], ...] = (
    ("pyproject.toml", "members = [", 'members = ["engine", '),
    (
        "pyproject.toml",
        'stratakit = { path = "vendor/stratakit", editable = true }',
        "stratakit = { workspace = true }",
    ),
    # Template updates of the vendored engine no longer apply.
    ("pyproject.toml", "skip = [", 'skip = ["vendor", '),
    (
        "vendor/stratakit/pyproject.toml",
        'exclude = ["*"]  # Vendored: not the project\'s to lint.\nforce-exclude = true\n',
        "",
    ),
    ("noxfile.py", '"vendor" / "stratakit" / "src"', '"engine" / "src"'),
    ("tasks.py", '"vendor" / "stratakit" / "src"', '"engine" / "src"'),
    (
        ".dockerignore",
        "!vendor\nvendor/*\n!vendor/stratakit\nvendor/stratakit/*\n",
        "!engine\nengine/*\n",
    ),
)
"""References to the vendored engine that need more than its new path: file, old text, new text."""
SENTENCES: tuple[tuple[str, str, str], ...] = (
    (
        "AGENTS.md",
        (
            "do not edit: `vendor/stratakit/` comes with updates;"
            " `uv run invoke engine.eject` makes it yours"
        ),
        "`engine/`, which is yours: updates no longer apply to it",
    ),
    ("pyproject.toml", '"**/.venv", "vendor"]', '"**/.venv", "engine"]'),
)
"""Passages that a team may have rewritten, and that are left alone then."""


def eject() -> list[str]:
    """Move the engine to engine/ as a member of the workspace; return the changed paths.

    Raises:
        ConfigurationError: it is not vendored, engine/ exists, or a file that refers to the engine
            was rewritten. Nothing was changed.
        StrataError: uv cannot lock the project; the move is kept.
    """
    source, target = ROOT / VENDORED, ROOT / OWN
    if not source.is_dir():
        raise ConfigurationError(
            f"there is no {VENDORED.as_posix()}/: the engine was ejected already, or is a wheel",
            "uv run invoke graph",
        )
    if target.exists():
        raise ConfigurationError(f"{OWN}/ already exists", f"git mv {OWN} somewhere-else")
    texts = _edited()
    for file, text in texts.items():
        (ROOT / file).write_text(text, encoding="utf-8", newline="\n")
    source.rename(target)
    (target / manifest.NAME).unlink(missing_ok=True)
    if not any(source.parent.iterdir()):
        source.parent.rmdir()
    done = programs.run([environment.uv(), "lock", "--quiet"], limits.DOWNLOAD, cwd=ROOT)
    if done.returncode:
        raise environment.diagnose(done.stderr)
    names = (name for name in texts if (ROOT / name).exists())
    return [OWN.as_posix(), *names, environment.LOCK.name]


def _edited() -> dict[str, str]:
    """Return the new texts of the files that refer to the vendored engine."""
    texts: dict[str, str] = {}
    for file, old, new in EDITS:
        text = texts.get(file) or (ROOT / file).read_text(encoding="utf-8")
        if old not in text:
            raise ConfigurationError(
                f"{file} lacks {old!r}, so its reference to the engine cannot be replaced",
                f"put the line back (git log -p {file}), or replace it by hand: {new!r}",
            )
        texts[file] = text.replace(old, new, 1)
    for file in project_files():
        before = text_of(file)
        if not before or file.startswith("CHANGELOG"):
            continue
        text = texts.get(file, before)
        for name, old, new in SENTENCES:
            text = text.replace(old, new) if name == file else text
        text = text.replace(VENDORED.as_posix(), OWN.as_posix())
        if text != before:
            texts[file] = text
    return texts
