"""Rename what an update of the template does not reach: `python3 vendor/stratakit/upgrade.py`.

The engine was called `ops`, in ops/, and was a member of the workspace; now it is `stratakit` in
vendor/stratakit/. A template update renames the template's own files; this script does the rest:
the project's services, libraries, tests, .env files, workflows and documents. If the update adds
the setting `postgres`, it is set to the major version of the project's Compose file.
Running it again changes nothing. Standard library only.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path.cwd()
OLD = "ops/"
UNTRACKED = (".env", ".envrc")
"""Files with settings of the engine that are not in git."""
LEFT_ALONE = ("vendor/", OLD, "uv.lock", "CHANGELOG.md", ".cruft.json")
REJECTED = ".rej"
POSTGRES = r'^postgres = "(\d\d)"'
SHOWN = 10

Renames = tuple[tuple[str, str], ...]

RENAMES: Renames = (
    (r"\bops/src/ops\b", "vendor/stratakit/src/stratakit"),
    (r"\bops/src\b", "vendor/stratakit/src"),
    (r"^(\s*)import ops(?=\s*$|\.| as )", r"\1import stratakit"),
    (r"^(\s*)from ops(?=(\.\w+)* import\b)", r"\1from stratakit"),
    (r"(?<![\w./@-])ops\.testing\b", "stratakit.testing"),
    (r"\bno:ops\b", "no:stratakit"),
    (r"\btool\.ops\b", "tool.stratakit"),
    (r"\bOPS_(SERVERS|ERROR|RUN|STARTED_IN)\b", r"STRATA_\1"),
    (r"\bOpsError\b", "StrataError"),
    (r"\bops:owner\b", "strata:owner"),
)
"""Patterns and replacements for every file."""

_MODULES = (
    "ci|commands|coverage|database|discovery|doctor|downloads|environment|errors|fingerprint|git"
    "|graph|hooks|keyspaces|limits|liveness|location|names|programs|report|routes|scaffold|servers"
    "|settings|show|stack|static|tasks|verdict|verify"
)
IN_PYTHON: Renames = ((rf"(?<![\w./@-])ops\.({_MODULES})\b", r"stratakit.\1"),)
"""The same for Python files that import `ops`; in others it may be a variable."""
IN_TEXT: Renames = ((rf"(?:(?<=-m )|(?<=[\"'`]))ops\.({_MODULES})\b", r"stratakit.\1"),)
"""The same for other files, if quoted; unquoted it may be a host name."""
_OF_PROJECT = "Package|Library|Service|packages|libraries|services|package|service"
MOVED: Renames = (
    (r"\bstratakit\.keyspaces\b", "stratakit.redis_databases"),
    (r"\bstratakit\.commands\b", "stratakit.runner"),
    (r"\bstratakit\.verdict\b", "stratakit.results"),
    (rf"\bstratakit\.graph\.({_OF_PROJECT})\b", r"stratakit.project.\1"),
    (r"\bstratakit\.graph\.", "stratakit.tiers."),
    (r"\bstratakit/graph\.py\b", "stratakit/tiers.py"),
)
"""Renamed modules; the content of `graph` is in `tiers` and `project`."""
GRAPH = re.compile(r"^([ \t]*)from stratakit\.graph import (\([^)#]*\)|[^\n(]+)$", re.MULTILINE)
GONE = re.compile(
    r"\bstratakit\.(?:ci|graph|report|routes|show)\b|\bfrom stratakit import (?:.*, )?graph\b"
)
"""Removed modules, whose content is split over several modules or gone."""

IMPORTED = re.compile(r"^\s*import ops\b", re.MULTILINE)
FOLDER = re.compile(r"(?<![\w./-])/?ops/")
LOCK = re.compile(r"\bpg_advisory_xact_lock\b")
"""Lock in an old env.py, which a migration that commits, as for CONCURRENTLY, releases."""
LEFT = (
    ("", FOLDER, f"names {OLD}"),
    ("", GONE, "names a module that is gone"),
    (
        "migrations/env.py",
        LOCK,
        "locks its transaction alone; servicebase.migrations.run does more",
    ),
)
"""Path suffixes, patterns of lines that no rule renames, and what to print about these."""


def main() -> int:
    """Rename, and print the changes and the next steps."""
    if not (ROOT / "vendor" / "stratakit").is_dir():
        return _refuse("there is no vendor/stratakit/ here", "run it after `uvx cruft update`")
    try:
        kept = _git("ls-files", "--cached", "--others", "--exclude-standard")
        conflicts = _git("diff", "--name-only", "--diff-filter=U", "--relative")
    except (OSError, subprocess.CalledProcessError) as error:
        return _refuse(f"git does not list the files: {error}", "git init && git add --all")
    files = sorted(name for name in {*kept, *UNTRACKED} if _is_own(name))
    dependency = _dependency()
    changed = [name for name in files if _rename(ROOT / name, dependency)]
    sys.stdout.write("".join(f"renamed in {name}\n" for name in changed) or "nothing to rename\n")
    sys.stdout.write(_keep_postgres())
    former = [name for name in sorted(kept) if name.startswith(OLD) and (ROOT / name).exists()]
    for lines in (
        [f"{name} is where the engine was" for name in former],
        [] if former or not (ROOT / OLD).exists() else [f"nothing in {OLD} is in git: rm -r {OLD}"],
        [*_naming(files)],
        [f"{name} is in conflict" for name in sorted(conflicts)],
        [f"{name} was rejected" for name in sorted(kept) if name.endswith(REJECTED)],
    ):
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        for line in (*lines[:SHOWN], *more):
            sys.stderr.write(f"look at it by hand: {line}\n")
    sys.stdout.write("Next:\n  uv lock\n  uv sync --all-packages --all-groups\n  uv run nox\n")
    return 0


def _keep_postgres() -> str:
    """Set the major version of PostgreSQL to that of the project's images, if it was not set."""
    file = ROOT / "pyproject.toml"
    images = re.search(r"\bimage: *postgres:(\d\d)\b", _committed("compose.yaml"))
    setting = re.search(POSTGRES, text := _text(file), re.MULTILINE)
    if not (images and setting) or re.search(POSTGRES, _committed(file.name), re.MULTILINE):
        return ""
    if setting[1] == images[1]:
        return ""
    kept = text[: setting.start(1)] + images[1] + text[setting.end(1) :]
    file.write_bytes(kept.encode("utf-8"))
    return f"postgres in pyproject.toml is {images[1]}, as compose.yaml has it\n"


def _committed(name: str) -> str:
    """Return the content of a file in the last commit; empty if it is not there."""
    done = subprocess.run(
        ("git", "show", f"HEAD:./{name}"), cwd=ROOT, capture_output=True, check=False
    )
    return done.stdout.decode("utf-8", "replace")


def _refuse(message: str, hint: str) -> int:
    sys.stderr.write(f"configuration: {message}\n  hint: in the folder of the project: {hint}\n")
    return 3


def _git(*words: str) -> set[str]:
    """Return the files that a git command lists."""
    done = subprocess.run(("git", *words, "-z"), cwd=ROOT, capture_output=True, check=True)
    return set(filter(None, done.stdout.decode("utf-8", "surrogateescape").split("\0")))


def _is_own(name: str) -> bool:
    file = ROOT / name
    if name.startswith(LEFT_ALONE) or name.endswith(REJECTED):
        return False
    # The target of a link is renamed itself, if it is in the project.
    return file.is_file() and not file.is_symlink()


def _text(file: Path) -> str:
    """Return the content of a file; empty if it is not text."""
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _dependency() -> Renames:
    """Return the renames of the engine as a dependency: it was PROJECT-ops."""
    # Read as text: a file with conflict markers is not valid JSON or TOML.
    named = re.findall(r'^ *"project_slug": "(.+)"', _text(ROOT / ".cruft.json"), re.MULTILINE)
    prefix = re.findall(r'^project = "(.+)"', _text(ROOT / "pyproject.toml"), re.MULTILINE)
    package = rf"(?:{'|'.join(map(re.escape, sorted({*named, *prefix} or {ROOT.name})))})-ops"
    return (
        # The root's source applies to all members.
        (rf"^{package}\s*=\s*\{{\s*workspace\s*=\s*true\s*\}}\r?\n", ""),
        (r"^\[tool\.uv\.sources\]\r?\n\s*(?=\[|\Z)", ""),
        (rf"(?<![\w-]){package}(?![\w-])", "stratakit"),
    )


def _rename(file: Path, dependency: Renames) -> bool:
    text = _text(file)
    in_python = IN_PYTHON if IMPORTED.search(text) else ()
    qualified = in_python if file.suffix == ".py" else IN_TEXT
    new = text
    for old, by in (*dependency, *RENAMES, *qualified, *MOVED):
        new = re.sub(old, by, new, flags=re.MULTILINE)
    new = GRAPH.sub(_split, new)
    if new != text:
        file.write_bytes(new.encode("utf-8"))
    return new != text


def _split(imported: re.Match[str]) -> str:
    """Return an import from `graph` as imports from the modules that replace it."""
    indent, names = imported.groups()
    code, _, comment = names.partition("#")
    homes: dict[str, list[str]] = {}
    for name in filter(None, (each.strip() for each in code.strip(" ()\n").split(","))):
        module = "project" if re.match(rf"({_OF_PROJECT})\b", name) else "tiers"
        homes.setdefault(module, []).append(name)
    lines = [
        f"{indent}from stratakit.{module} import {', '.join(names)}"
        for module, names in sorted(homes.items())
    ]
    return "\n".join(lines) + (f"  #{comment}" if comment else "")


def _naming(files: list[str]) -> Iterator[str]:
    """Yield the lines that have to be changed by hand."""
    for name in files:
        for number, line in enumerate(_text(ROOT / name).splitlines(), start=1):
            for end, pattern, said in LEFT:
                if name.endswith(end) and pattern.search(line):
                    yield f"{name}:{number} {said}: {line.strip()}"
                    break


if __name__ == "__main__":
    sys.exit(main())
