"""Template that the project was baked from, and bakes of it at the recorded commit."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .. import limits, programs
from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..git import GitError, git
from ..pyproject import ROOT

RECORD = ROOT / ".cruft.json"

_REFUSED = "because pre_gen_project hook"
"""Part of cookiecutter's output if the hook rejects an answer, its only reason to fail."""
_AGAIN = "\nCorrected:"
"""Start of the hook's advice on baking the project, which does not apply to a service."""
_GOOD = re.compile(r'^  A good one: (\w+)="(.*)"$', re.MULTILINE)
_CLONES = "from cookiecutter.config import get_user_config as c; print(c()['cookiecutters_dir'])"


@dataclass(frozen=True, slots=True)
class Template:
    """A template as recorded in `.cruft.json`."""

    address: str
    """URL, or path of a clone."""
    commit: str
    folder: str
    """Path in its repository; empty for the root."""
    answers: Mapping[str, str]
    checkout: str = "HEAD"
    """Branch or tag that was baked."""

    def newest(self) -> str:
        """Return the current commit of its branch or tag.

        Raises:
            InfrastructureError: the template is unreachable.
        """
        *_, source = self._sources()
        try:
            said = git(ROOT, "ls-remote", "--quiet", source, self.checkout, timeout=limits.LOOK)
        except GitError as error:
            raise InfrastructureError(
                f"the template {self.address} is out of reach: {error}",
                "see whether the network and that address answer, then run it again",
            ) from error
        return said.partition("\t")[0]

    def bake(self, scratch: Path, **answers: str) -> Path:
        """Return a bake in the folder `scratch`, with these answers overriding the recorded ones.

        Raises:
            ConfigurationError: the template rejects an answer, or lacks the recorded commit.
            InfrastructureError: it is unreachable, or cookiecutter or git is not installed.
        """
        if find_spec("cookiecutter") is None:
            raise InfrastructureError(
                "cookiecutter, which bakes services, is not installed beside Invoke",
                "uv run invoke setup",
            )
        checkout, output, config = (scratch / name for name in ("template", "baked", "config"))
        self._fetch(checkout)
        # Keep our bakes out of the user's cookiecutter replays. JSON is valid YAML.
        own = {"replay_dir": str(scratch / "replay"), "cookiecutters_dir": str(scratch)}
        config.write_text(json.dumps(own), encoding="utf-8")
        chosen = {**self.answers, **answers}
        _python(
            *("-m", "cookiecutter", str(checkout / self.folder), "--no-input"),
            *("--config-file", str(config), "--output-dir", str(output)),
            *(f"{key}={value}" for key, value in chosen.items()),
            answers=chosen,
        )
        (project,) = output.iterdir()
        return project

    def _fetch(self, checkout: Path) -> None:
        """Check out the commit into a separate folder, to leave the user's clones unchanged."""
        checkout.mkdir()
        git(checkout, "init", "--quiet", "--template=")
        *clones, source = self._sources()
        for clone in clones:
            with suppress(GitError):
                self._fetch_commit(clone, checkout)
                return
        try:
            self._fetch_commit(source, checkout)
        except GitError as error:
            raise self._diagnose(checkout, source, error) from error

    def _fetch_commit(self, source: str, checkout: Path) -> None:
        git(checkout, "fetch", "--quiet", "--depth=1", source, self.commit)
        # Do not run the user's global hooks here.
        git(checkout, "-c", f"core.hooksPath={os.devnull}", "checkout", "--quiet", "FETCH_HEAD")

    def _sources(self) -> Iterator[str]:
        """Yield possible sources of the commit: local clones first, the template's own last."""
        path = ROOT / self.address
        if path.exists():
            yield str(path)
            return
        # Every form of a git URL has a colon: https://host/path, user@host:path.
        if ":" not in self.address:
            raise InfrastructureError(
                f"the template is out of reach: .cruft.json says that it is in {self.address}, and"
                " nothing is there",
                'bring it back, or write its path or URL as "template" into .cruft.json',
            )
        # cookiecutter's clone, under the name that it derives. A commit with the right hash is the
        # right one in any clone.
        name = self.address.rstrip("/").rpartition("/")[2].rpartition(":")[2].removesuffix(".git")
        clone = Path(_python("-c", _CLONES).strip()) / name
        if clone.is_dir():
            yield str(clone)
        yield self.address

    def _diagnose(self, checkout: Path, source: str, refusal: GitError) -> StrataError:
        try:
            git(checkout, "ls-remote", "--quiet", source)
        except GitError:
            return InfrastructureError(
                f"the template {self.address} is out of reach: {refusal}",
                "see whether the network and that address answer, then run it again",
            )
        return ConfigurationError(
            f"the template {self.address} has no commit {self.commit}, which .cruft.json says that"
            f" the project was baked from: {refusal}",
            'write one that it has as "commit" into .cruft.json',
        )


def recorded() -> Template:
    """Return the template that the project was baked from.

    Raises:
        ConfigurationError: it is not recorded.
    """
    try:
        record = json.loads(RECORD.read_text(encoding="utf-8"))
        answers = record["context"]["cookiecutter"]
        return Template(
            address=record["template"],
            commit=record["commit"],
            folder=record.get("directory") or "",
            checkout=record.get("checkout") or "HEAD",
            # The template derives private variables from the answers again.
            answers={key: value for key, value in answers.items() if not key.startswith("_")},
        )
    except FileNotFoundError as error:
        raise ConfigurationError(
            "it is not known which template this project was baked from: there is no .cruft.json,"
            " which a bake from a git checkout or a URL writes",
            "uvx cruft link TEMPLATE, its URL or the path of a clone of it",
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f".cruft.json cannot be read, since it is not what a bake has written: {error!r}",
            "git restore .cruft.json",
        ) from error


def _python(*arguments: str, answers: Mapping[str, str] | None = None) -> str:
    """Run cookiecutter in a separate process, to keep its hooks and settings out of ours.

    `answers` are the answers of a bake, for the hint.

    Raises:
        ConfigurationError: the template rejects an answer, or something else fails.
    """
    done = programs.run([sys.executable, *arguments])
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip()
    if _REFUSED in done.stdout:
        said = said.partition(_AGAIN)[0]
        good = {**(answers or {}), **dict(_GOOD.findall(said))}
        raise ConfigurationError(
            f"the template refuses this:\n{said}",
            f"uv run invoke service.add {good['service']} --resource {good['resource']}",
        )
    _, _, reason = said.rpartition("\n")
    raise ConfigurationError(
        f"the template cannot be baked: {reason or done.stdout.strip()}",
        "see whether .cruft.json has the answers that the project was baked with",
    )
