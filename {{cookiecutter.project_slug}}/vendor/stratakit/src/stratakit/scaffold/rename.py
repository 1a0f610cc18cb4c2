"""Renaming of a service: everywhere, or not at all.

All checks come first. Then files, folders, the lock and the state on this machine are renamed; a
failure in between is rolled back.
"""

import json
import keyword
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from .. import environment, names, programs, project, results, servers
from ..database import dev
from ..database.lifecycle import Database
from ..database.stamps import DEV
from ..errors import ConfigurationError
from ..git import GitError, git
from ..project import Service
from ..pyproject import ROOT
from ..servers import Source, checkout
from ..stack import dev_servers, record, running, service_env
from ..static.runner import project_files
from . import services, template
from .mentions import Renaming, prefix, text_of

LONGEST = 20
"""Maximum letters of a name: several names have to fit into PostgreSQL's 63."""
SOURCES: tuple[Source, ...] = ("embedded", "docker", "url")


_OTHER_STDLIB = re.compile(
    "aifc|annotationlib|asynchat|asyncore|audioop|cgi|cgitb|chunk|compression|crypt|distutils|imghdr"
    "|imp|lib2to3|mailcap|msilib|nis|nntplib|ossaudiodev|pipes|profiling|smtpd|sndhdr|spwd|sunau"
    "|telnetlib|uu|xdrlib"
)
"""Standard library modules of other Python versions."""
_REFUSALS: Mapping[str, Callable[[str], object]] = {
    "it becomes a folder and a part of package names: lower-case letters a-z and digits, a letter"
    " first, words joined by single dashes": lambda package: (
        not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", package)
    ),
    f"it has more than {LONGEST} characters": lambda package: len(package) > LONGEST,
    "it is a keyword of Python": keyword.iskeyword,
    "it is a module of Python's standard library": lambda package: (
        package in sys.stdlib_module_names or _OTHER_STDLIB.fullmatch(package)
    ),
    "it is a device on Windows": re.compile(r"aux|con|nul|prn|(com|lpt)\d").fullmatch,
    "every project has a folder or a module of that name": lambda package: (
        package in ("conftest", "engine", "migrations", "reports", "src")
        or any((ROOT / each).exists() for each in (package, f"{package}.py"))
    ),
    "it is a package that the project installs": lambda package: (
        find_spec(package) is not None and not [*ROOT.glob(f"services/*/src/{package}")]
    ),
}
"""Reasons against a package name, as in "..., because ...", each with its check."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes to make for a renaming."""

    old: Service
    new: Service
    texts: Mapping[Path, str]
    """New contents of files, by their paths before the folder is renamed."""
    left: tuple[str, ...]
    """Lines that still have the old name, perhaps with another meaning."""


def plan(old: str, new: str) -> Plan:
    """Return the plan of a renaming, without changing anything.

    If a colleague has renamed the service, so that the files of this checkout already have the
    new name, only the state on this machine is renamed.

    Raises:
        ConfigurationError: there is no such service, the name is invalid or taken, affected files
            have uncommitted changes, or the service is up.
        InfrastructureError: git is not installed.
    """
    known = {each.name: each for each in project.services()}
    if old not in known and new in known:
        service = known[new]
        gone = _called(service, old)
        _refuse_running(gone)
        return Plan(gone, service, {}, ())
    service = project.service(old)
    services.refuse_taken(new)
    refuse_name(new)
    services.refuse_hiding(_plain(new))
    _refuse_running(service)
    fresh = _called(service, new)
    renaming = Renaming(service, fresh)
    texts: dict[Path, str] = {}
    left: list[str] = []
    for file in project_files():
        text = text_of(file)
        if text is None:
            continue
        wanted = _recorded(text, service, fresh) if file == ".cruft.json" else text
        wanted = renaming.text(file, wanted)
        left += renaming.left(_moved(service, fresh, ROOT / file), wanted)
        if wanted != text:
            texts[ROOT / file] = wanted
    _refuse_uncommitted(service, texts)
    return Plan(service, fresh, texts, tuple(left))


def refuse_name(name: str) -> None:
    """Refuse an invalid name of a service, by the same rules as the template.

    Raises:
        ConfigurationError: the name is invalid.
    """
    for why, refuses in _REFUSALS.items():
        # Underscores are allowed in package names, but not in names of services.
        if refuses("" if "_" in name else _plain(name)):
            raise ConfigurationError(
                f"{name!r} cannot be the name of a service, because {why}",
                "take another one, such as billing",
            )


@contextmanager
def prepared(it: Plan) -> Iterator[list[tuple[Database, Database]]]:
    """Yield the databases to rename, each with its renamed one, while their servers are up.

    Databases that no longer exist are included if snapshots of them do.

    Raises:
        ConfigurationError: a database is in use or not ours, or the new name exists.
        InfrastructureError: a server that may have one does not start.
    """
    with ExitStack() as stack:
        up = {}
        for source in filter(record.used, SOURCES):
            wanted = dev_servers.settings_of(source, "postgres")
            lasts = source == "docker"
            leased = stack.enter_context(
                servers.lease(wanted, ("postgres",), persistent=lasts, kept=True)
            )
            up[leased["postgres"].url, DEV] = leased["postgres"]
        for each in stack.enter_context(services.databases(it.old)):
            up[each.server.url, each.purpose] = each.server
        found = []
        for (_, purpose), server in up.items():
            before, after = (Database(server, each, purpose) for each in (it.old, it.new))
            if before.exists() or before.snapshots():
                dev.refuse_renaming(before, after)
                found.append((before, after))
        yield found


def carry_out(it: Plan, databases: Sequence[tuple[Database, Database]]) -> None:
    """Carry out a plan.

    Raises:
        StrataError: something failed; everything is as before.
    """
    with ExitStack() as undo:
        if it.texts:
            _rename_files(it, undo)
        for before, after in databases:
            dev.rename(before, after)
            undo.callback(dev.rename, after, before)
        _rename_settings(it, undo)
        undo.pop_all()
    for folder in (*environment.all_of(it.old), record.folder() / it.old.name):
        shutil.rmtree(folder, ignore_errors=True)
    project.services.cache_clear()


def _rename_files(it: Plan, undo: ExitStack) -> None:
    others = {each.name: each.path for each in project.services() if each.name != it.old.name}
    manifests = {
        (it.new.path if file.parent == it.old.path else file.parent).relative_to(ROOT)
        / file.name: text
        for file, text in it.texts.items()
        if file.name == "pyproject.toml"
    }
    with services.scratch() as scratch:
        lock = services.locked(scratch, {**others, it.new.name: it.old.path}, manifests)
        for file, text in it.texts.items():
            undo.callback(file.write_bytes, file.read_bytes())
            file.write_text(text, encoding="utf-8", newline="")
        source = it.old.path / "src" / it.old.package
        if source.is_dir():
            _move(source, source.with_name(it.new.package), undo)
        _move(it.old.path, it.new.path, undo)
        undo.callback(environment.LOCK.write_bytes, environment.LOCK.read_bytes())
        lock.replace(environment.LOCK)
    _tidy(it)


def _move(source: Path, target: Path, undo: ExitStack) -> None:
    if source != target:
        source.rename(target)
        undo.callback(target.rename, source)


def _tidy(it: Plan) -> None:
    """Sort imports and format the changed files: the new name may have another length."""
    moved = [_moved(it.old, it.new, file) for file in it.texts if file.suffix == ".py"]
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if not ruff:
        return
    for command in (("check", "--quiet", "--select", "I", "--fix"), ("format", "--quiet")):
        programs.run([ruff, *command, "--force-exclude", *moved], cwd=ROOT)


def _moved(old: Service, new: Service, file: Path) -> str:
    """Return a file's path after the folders are renamed, relative to the project."""
    for before, after in (
        (old.path / "src" / old.package, new.path / "src" / new.package),
        (old.path, new.path),
    ):
        if file.is_relative_to(before):
            file = after / file.relative_to(before)
            break
    return file.relative_to(ROOT).as_posix()


def _rename_settings(it: Plan, undo: ExitStack) -> None:
    """Rename the variables in .env and the generated secrets."""
    name = f"{prefix(it.old)}(?=[A-Z])"
    if service_env.FILE.exists():
        before = service_env.FILE.read_text(encoding="utf-8")
        text = re.sub(rf"(?m)^(#? *(?:export +)?){name}", rf"\g<1>{it.new.prefix}", before)
        was, is_ = (names.named(each.name, DEV, checkout.mark()) for each in (it.old, it.new))
        text = re.sub(rf"(?<=/){was}(?!\w)", is_, text)
        service_env.replace_dotenv(text)
        undo.callback(service_env.replace_dotenv, before)
    kept = service_env.secrets_file()
    if kept.exists():
        made: dict[str, str] = results.read(kept)
        renamed = {re.sub(f"^{name}", it.new.prefix, key): value for key, value in made.items()}
        undo.callback(kept.write_bytes, kept.read_bytes())
        results.write(kept, json.dumps(renamed))


def _recorded(text: str, old: Service, new: Service) -> str:
    """Return the template's record, changed so that updates find the service by its new name."""
    answers = template.recorded().answers
    if answers.get("starter") != "blank" or answers.get("service") != old.name:
        return text
    keys = {"service": new.name, "__service": new.name, "__blank": new.name}
    for key, value in {**keys, "__package": new.package}.items():
        text = re.sub(rf'("{key}": )"[^"]*"', rf'\g<1>"{value}"', text)
    return text


def _refuse_running(service: Service) -> None:
    if running([service]):
        raise ConfigurationError(f"{service.name} is up in the stack", "uv run invoke stack.down")


def _refuse_uncommitted(service: Service, texts: Mapping[Path, str]) -> None:
    """Refuse to rename files with changes that git could not restore.

    Raises:
        ConfigurationError: there are uncommitted changes, or no repository.
    """
    paths = {*texts, service.path, environment.LOCK}
    try:
        status = git(ROOT, "status", "--porcelain", "-z", "--", *map(str, sorted(paths)))
    except GitError as error:
        raise ConfigurationError(
            f"git could not undo the renaming, since it says: {error}",
            "uv run invoke setup, and commit",
        ) from error
    changed = [entry[3:] for entry in status.split("\0") if entry]
    if changed:
        raise ConfigurationError(
            f"{services.few(changed)}: not committed, so git could not undo the renaming",
            "commit, or put it aside: git stash --include-untracked",
        )


def _called(service: Service, name: str) -> Service:
    """Return a service under another name, with package and distribution if derived from it."""
    package, distribution = service.package, service.distribution
    return replace(
        service,
        name=name,
        path=service.path.with_name(name),
        package=_plain(name) if package == _plain(service.name) else package,
        distribution=re.sub(rf"(?<!\w){re.escape(service.name)}$", name, distribution),
    )


def _plain(name: str) -> str:
    return name.replace("-", "_")
