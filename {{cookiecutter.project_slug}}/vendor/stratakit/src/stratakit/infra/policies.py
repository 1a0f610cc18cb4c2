"""Script that checks subjects against policies: `policies.py FOLDER`, subjects on standard input.

It runs in the environment of `tools.POLICIES`. Every rule also has to fire on its `fires` fixtures
and pass its `passes` fixtures: an engine that lacks a builtin would leave the rule undefined, so
that it never fires. Files with the same name are one package, in whatever folder they are:
`security.rego` has the rules that all clouds share, `aws/security.rego` those that AWS adds.
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
"""A service that passes all rules; fixtures of compose.rego change it."""
HOME = {"aws": "eu-central-1", "gcp": "europe-west3", "hetzner": "fsn1"}
"""Default region of a fixture, by the folder of its cloud's rules."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of rules, its files, and its fixtures."""

    name: str
    files: tuple[Path, ...]
    fixtures: tuple[Path, ...]

    @property
    def query(self) -> str:
        """Query for the findings of the package."""
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
    """An evaluator of Rego."""

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
        """Start without any policies loaded."""
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
    """Yield the rules without a fixture, and the fixtures with an unexpected outcome."""
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
                        yield f"{package.name}.{name}, {variant!r} in {file}: expected {side!r}"
    for name in sorted(rules ^ proved):
        yield f"{package.name}.{name} has {'no fixture' if name in rules else 'no rule'}"


def _subject(package: str, cloud: str, given: Any) -> dict[str, Any]:
    """Return the subject that one side of a fixture describes."""
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
    """Return the input of a subject, read from a YAML file if it is a path."""
    return (
        yaml.safe_load(Path(given).read_text(encoding="utf-8")) if isinstance(given, str) else given
    )


if __name__ == "__main__":
    sys.exit(main())
