"""Rename what an update of the template does not reach: `python3 vendor/stratakit/upgrade.py`.

The engine was called `ops`, lay in ops/ and was a member of the workspace; it is `stratakit` in
vendor/stratakit/ now. An update renames what came with the template, and this the rest: services
and libraries of the project's own, its tests, .env files, workflows, documents. To run it twice
changes nothing more. Standard library only.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path.cwd()
UNTRACKED = (".env", ".env.test")
"""Files that git does not keep, and that hold settings of the engine."""
LEFT_ALONE = ("vendor/", "uv.lock", "CHANGELOG.md", ".cruft.json")

RENAMES: tuple[tuple[str, str], ...] = (
    # Sources of members: what the root says goes for all.
    (r"^[\w-]+-ops = \{ workspace = true \}\n", ""),
    (r"^\[tool\.uv\.sources\]\n(?=\s*(\[|\Z))", ""),
    (r"\bops/src/ops\b", "vendor/stratakit/src/stratakit"),
    (r"\bops/src\b", "vendor/stratakit/src"),
    (r"^(\s*)(from|import) ops\b", r"\1\2 stratakit"),
    (r"\bops\.(testing|tasks|database|servers|errors|graph|static|doctor)\b", r"stratakit.\1"),
    (r"-m ops\b", "-m stratakit"),
    (r"\bno:ops\b", "no:stratakit"),
    (r"\btool\.ops\b", "tool.stratakit"),
    (r"\bOPS_(?=[A-Z])", "STRATA_"),
    (r"\bOpsError\b", "StrataError"),
    (r"\bstratakit\.keyspaces\b", "stratakit.redis_databases"),
)
"""What is replaced, line by line, and by what."""


def main() -> int:
    """Rename, and print what was changed and what is next."""
    if not (ROOT / "vendor" / "stratakit").is_dir():
        sys.stderr.write(
            "configuration: there is no vendor/stratakit/ here\n"
            "  hint: run it in the folder of the project, after `uvx cruft update`\n"
        )
        return 3
    changed = [name for name in sorted(_files()) if _rename(ROOT / name)]
    sys.stdout.write("".join(f"renamed in {name}\n" for name in changed) or "nothing to rename\n")
    for left in _left():
        sys.stderr.write(f"look at it by hand: {left}\n")
    sys.stdout.write("Next:\n  uv lock\n  uv sync --all-packages --all-groups\n  uvx nox\n")
    return 0


def _rename(file: Path) -> bool:
    try:
        text = file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    new = text
    for old, by in (*RENAMES, *_distribution()):
        new = re.sub(old, by, new, flags=re.MULTILINE)
    if new != text:
        file.write_bytes(new.encode("utf-8"))
    return new != text


def _distribution() -> list[tuple[str, str]]:
    """Return what renames the engine where packages depend on it: it was PROJECT-ops."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tools = settings.get("tool", {})
    project = (tools.get("stratakit") or tools.get("ops") or {}).get("project", ROOT.name)
    return [(rf"(?<![\w-]){re.escape(project)}-ops(?![\w-])", "stratakit")]


def _files() -> set[str]:
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    names = {*listed, *UNTRACKED} - {""}
    return {name for name in names if not name.startswith(LEFT_ALONE) and (ROOT / name).is_file()}


def _left() -> list[str]:
    """Return what no rename decides: the old folder, conflicts and rejected changes."""
    status = _git("status", "--porcelain").splitlines()
    old = ["ops/, which the engine has left"] if (ROOT / "ops").exists() else []
    return [
        *old,
        *(f"{line[3:]} is in conflict" for line in status if line[:2] in {"UU", "AA", "DU", "UD"}),
        *(f"{path.relative_to(ROOT)} was rejected" for path in ROOT.rglob("*.rej")),
    ]


def _git(*words: str) -> str:
    done = subprocess.run(("git", *words), cwd=ROOT, capture_output=True, check=True, text=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
