"""Judge subjects by the policies of a folder: `policies.py FOLDER`, subjects on standard input.

A script of the environment of `tools.POLICIES`. Before it judges anything, each rule has to report
the fixtures that it must and to pass those beside them: an engine that lacks a builtin would leave
the rule undefined, and so never fire.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

CLEAN = {"image": "redis:8", "mem_limit": "1g", "healthcheck": {"test": ["CMD", "true"]}}
"""A service that no rule reports; fixtures of compose.rego change it."""
HOME = {"aws": "eu-central-1", "gcp": "europe-west3", "hetzner": "fsn1"}
"""The region of a fixture that names none."""


class Engine(Protocol):
    """What evaluates Rego."""

    def findings(self, policy: Path, subject: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the entries of `deny` in the package of a policy."""


class Opa:
    """The program `opa` on PATH."""

    def findings(self, policy: Path, subject: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the entries of `deny` in the package of a policy."""
        query = f"data.strata.{policy.stem}.deny"
        command = ("opa", "eval", "--format", "json", "--stdin-input", "--fail", "--data")
        done = subprocess.run(
            (*command, str(policy), query),
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
        self._read: dict[Path, Any] = {}

    def findings(self, policy: Path, subject: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the entries of `deny` in the package of a policy."""
        import regorus

        if policy not in self._read:
            self._read[policy] = regorus.Engine()
            self._read[policy].add_policy_from_file(str(policy))
        engine = self._read[policy]
        engine.set_input_json(json.dumps(subject))
        found: list[dict[str, str]] = json.loads(
            engine.eval_rule_as_json(f"data.strata.{policy.stem}.deny")
        )
        return found


def unproved(engine: Engine, policy: Path) -> Iterator[str]:
    """Yield the rules without a fixture, and the fixtures of which a rule says the wrong thing."""
    file = policy.parent / "fixtures" / f"{policy.stem}.yaml"
    fixtures = yaml.safe_load(file.read_text(encoding="utf-8"))
    rules = set(re.findall(r'finding\("(\w+)"', policy.read_text(encoding="utf-8")))
    for name in sorted(rules ^ set(fixtures)):
        yield f"{policy.stem}.{name} has {'no fixture' if name in rules else 'no rule'}"
    for name, variants in fixtures.items():
        for variant, sides in variants.items():
            for side in ("fires", "passes"):
                found = engine.findings(policy, _subject(policy.stem, sides, sides[side]))
                if any(each["rule"] == name for each in found) != (side == "fires"):
                    yield f"{policy.stem}.{name}, {variant!r}: not so that it {side}"


def _subject(policy: str, sides: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """Return the subject that a side of a fixture stands for."""
    if policy == "compose":
        service = {key: value for key, value in (CLEAN | given).items() if value is not None}
        return {"services": {"it": service}}
    cloud = sides.get("cloud", "aws")
    made: dict[str, Any] = {"cloud": cloud, "environment": "dev", "resources": []}
    made["region"] = sides.get("region", HOME[cloud])
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
    policies = {file.stem: file for file in sorted(folder.glob("*.rego"))}
    found = [
        {**finding, "policy": policy, "subject": each["name"]}
        for each in subjects
        for policy in each["policies"]
        for finding in engine.findings(policies[policy], _read(each["input"]))
    ]
    wrong = [line for policy in policies.values() for line in unproved(engine, policy)]
    json.dump({"unproved": wrong, "findings": found, "engine": type(engine).__name__}, sys.stdout)
    return 0


def _read(given: Any) -> Any:
    """Return the input of a subject; a path is that of a YAML file."""
    return (
        yaml.safe_load(Path(given).read_text(encoding="utf-8")) if isinstance(given, str) else given
    )


if __name__ == "__main__":
    sys.exit(main())
