"""Judge subjects by the policies of a folder: `policies.py FOLDER`, subjects on standard input.

A script of the environment of `tools.POLICIES`. Before it judges anything, each rule has to report
the fixtures that it must and to pass those beside them: an engine that lacks a builtin would leave
the rule undefined, and so never fire. Files of one name are one package, in whichever folder they
are: `security.rego` has what all clouds share, `aws/security.rego` what AWS adds.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

CLEAN = {"image": "redis:8", "mem_limit": "1g", "healthcheck": {"test": ["CMD", "true"]}}
"""A service that no rule reports; fixtures of compose.rego change it."""
HOME = {"aws": "eu-central-1", "gcp": "europe-west3", "hetzner": "fsn1"}
"""The region of a fixture that names none, by the folder that its cloud's rules are in."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of rules, its files, and its fixtures."""

    name: str
    files: tuple[Path, ...]
    fixtures: tuple[Path, ...]

    @property
    def query(self) -> str:
        """What an engine is asked for."""
        return f"data.strata.{self.name}.deny"


def packages(folder: Path) -> dict[str, Package]:
    """Return the packages of a folder, by name."""
    found = sorted(folder.rglob("*.rego"))
    return {
        name: Package(
            name,
            tuple(file for file in found if file.stem == name),
            tuple(sorted(folder.rglob(f"fixtures/{name}.yaml"))),
        )
        for name in sorted({file.stem for file in found})
    }


class Engine(Protocol):
    """What evaluates Rego."""

    def findings(self, package: Package, subject: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the entries of `deny` in a package."""


class Opa:
    """The program `opa` on PATH."""

    def findings(self, package: Package, subject: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the entries of `deny` in a package."""
        command = ("opa", "eval", "--format", "json", "--stdin-input", "--fail")
        data = (word for file in package.files for word in ("--data", str(file)))
        done = subprocess.run(
            (*command, *data, package.query),
            input=json.dumps(subject),
            capture_output=True,
            text=True,
            check=True,
        )
        found: list[dict[str, str]] = json.loads(done.stdout)["result"][0]["expressions"][0][
            "value"
        ]
        return found


class Regorus:
    """The engine in the wheel gordon-to-regorus."""

    def __init__(self) -> None:
        """Begin without any policy read."""
        self._read: dict[str, Any] = {}

    def findings(self, package: Package, subject: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the entries of `deny` in a package."""
        import regorus

        if package.name not in self._read:
            self._read[package.name] = regorus.Engine()
            for file in package.files:
                self._read[package.name].add_policy_from_file(str(file))
        engine = self._read[package.name]
        engine.set_input_json(json.dumps(subject))
        found: list[dict[str, str]] = json.loads(engine.eval_rule_as_json(package.query))
        return found


def unproved(engine: Engine, package: Package) -> Iterator[str]:
    """Yield the rules without a fixture, and the fixtures of which a rule says the wrong thing."""
    rules = {
        rule
        for file in package.files
        for rule in re.findall(r'finding\("(\w+)"', file.read_text(encoding="utf-8"))
    }
    proved = set()
    for file in package.fixtures:
        cloud = file.parent.parent.name
        for name, variants in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            proved.add(name)
            for variant, sides in variants.items():
                for side in ("fires", "passes"):
                    found = engine.findings(package, _subject(package.name, cloud, sides[side]))
                    if any(each["rule"] == name for each in found) != (side == "fires"):
                        yield f"{package.name}.{name}, {variant!r} in {file}: not so that it {side}"
    for name in sorted(rules ^ proved):
        yield f"{package.name}.{name} has {'no fixture' if name in rules else 'no rule'}"


def _subject(package: str, cloud: str, given: Any) -> dict[str, Any]:
    """Return the subject that a side of a fixture stands for."""
    if package == "compose":
        service = {key: value for key, value in (CLEAN | given).items() if value is not None}
        return {"services": {"it": service}}
    made: dict[str, Any] = {
        "cloud": cloud,
        "environment": "dev",
        "region": HOME.get(cloud),
        "resources": [],
    }
    if isinstance(given, dict):
        return made | given
    pairs = [pair for each in given for pair in each.items()]
    made["resources"] = [
        {"address": f"{kind}.it", "type": kind, "values": values} for kind, values in pairs
    ]
    return made


def main() -> int:
    """Read subjects, and print `unproved` and `findings` as JSON."""
    folder = Path(sys.argv[1])
    subjects = json.load(sys.stdin)
    engine: Engine = Opa() if shutil.which("opa") else Regorus()
    policies = packages(folder)
    found = [
        {**finding, "policy": policy, "subject": each["name"]}
        for each in subjects
        for policy in each["policies"]
        for finding in engine.findings(policies[policy], _read(each["input"]))
    ]
    wrong = [line for each in policies.values() for line in unproved(engine, each)]
    json.dump({"unproved": wrong, "findings": found, "engine": type(engine).__name__}, sys.stdout)
    return 0


def _read(given: Any) -> Any:
    """Return the input of a subject; a path is that of a YAML file."""
    return (
        yaml.safe_load(Path(given).read_text(encoding="utf-8")) if isinstance(given, str) else given
    )


if __name__ == "__main__":
    sys.exit(main())
