"""AWS, GCP and Azure: spot machines that SkyPilot launches, and that we terminate.

SkyPilot and the cloud's clients run in their own environment, with their own home folder: they see
only the user's credentials for that cloud, and do not copy them to the machine.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from .. import limits, results
from ..errors import ConfigurationError, InfrastructureError, did_you_mean, translated
from ..infra import tools
from ..progress import progress
from ..pyproject import table
from . import leases, ssh
from .leases import Lease
from .providers import Answering, Machine, Quote

VERSION = ">=0.14.1,<0.15"
PROGRAM, PRICES = (Path(__file__).with_name(name) for name in ("sky_program.py", "prices.toml"))
APPEARS = 10.0
"""Seconds within which a requested machine is listed, if its response was lost."""
DOES = {
    "check": "accept the credentials",
    "quote": "name its prices",
    "launch": "make a machine",
    "machines": "list machines",
    "terminate": "end a machine",
}
"""Descriptions of the requests, for messages."""
REACHED = "reached.json"
"""File in a lease's folder with the SSH address of its machine."""


@dataclass(frozen=True, slots=True)
class Account:
    """Locations of a cloud's credentials, checked before anything is installed."""

    variables: tuple[str, ...]
    """Variables, of which one has to be set."""
    folder: str
    """Folder in the user's home that SkyPilot may see."""
    file: str
    """File in that folder that is sufficient without a variable."""
    hint: str


ACCOUNTS = {
    "aws": Account(
        (
            *("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
            *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        ),
        ".aws",
        "credentials",
        "aws configure; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "gcp": Account(
        ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"),
        ".config/gcloud",
        "application_default_credentials.json",
        "gcloud auth application-default login; then gcloud config set project NAME",
    ),
    "azure": Account(
        ("AZURE_CONFIG_DIR",),
        ".azure",
        "azureProfile.json",
        "az login; then az account set --subscription NAME",
    ),
}


@dataclass(slots=True)
class Sky:
    """Provider that rents machines of a cloud through SkyPilot."""

    name: str
    _remotes: dict[str, ssh.Remote] = field(default_factory=dict)
    _unanswered: set[str] = field(default_factory=set)
    """Tags of machines that were requested without a response, and so may exist."""

    def credentials(self) -> str:
        """Return the variable or the file with the credentials.

        Raises:
            InfrastructureError: there is none; the message says what to configure.
        """
        account = ACCOUNTS[self.name]
        file = Path.home() / account.folder / account.file
        found = [*filter(os.environ.get, account.variables), *([str(file)] * file.is_file())]
        if not found:
            raise InfrastructureError(
                f"there are no credentials for {self.name}: {file} does not exist, and none of"
                f" {', '.join(account.variables)} is set",
                account.hint,
            )
        return found[0]

    def check(self) -> None:
        """Make sure that SkyPilot can launch machines in this cloud.

        Raises:
            InfrastructureError: there are no credentials, or SkyPilot cannot use them.
        """
        self.credentials()
        ssh.require()
        if not shutil.which("rsync"):
            raise InfrastructureError(
                "there is no program `rsync`, which SkyPilot needs to reach machines",
                "install it: apt install rsync",
            )
        self._ask("check")

    def quote(self, instance: str, region: str) -> Quote:
        """Return the price of a spot machine from SkyPilot's catalog, else from our dated table.

        Raises:
            ConfigurationError: there is no such machine, or not in that region.
            InfrastructureError: the catalog is unavailable, and the table has no such machine.
        """
        prices = tomllib.loads(PRICES.read_text(encoding="utf-8"))
        own = prices[self.name]
        instance = instance or own["instance"]
        try:
            found = self._ask("quote", instance=instance, region=region)
        except InfrastructureError as error:
            if (instance, region or own["region"]) != (own["instance"], own["region"]):
                raise
            source = f"list price on demand of {prices['date']}, since {error.message:.120}"
            return Quote(instance, own["region"], own["usd_per_hour"], source)
        return Quote(instance, found["region"], found["usd"], "spot, SkyPilot's catalog of today")

    def launch(self, lease: Lease) -> None:
        """Launch the machine with SkyPilot, send the project there and start its service.

        Raises:
            InfrastructureError: it cannot be rented, or accepts no SSH connection.
        """
        self._unanswered.add(lease.id)
        found = self._ask(
            "launch",
            limit=lease.seconds,
            lease=lease.id,
            instance=lease.instance,
            region=lease.region,
            minutes=max(1, lease.seconds // 60),
        )
        self._unanswered.discard(lease.id)
        key = lease.folder / ssh.KEY
        with translated("what SkyPilot says of a machine cannot be kept"):
            key.touch(mode=0o600)
            key.write_text(found.pop("key"), encoding="utf-8")
            results.write(lease.folder / REACHED, json.dumps(found))
        remote = self._remote(lease)
        remote.wait()
        remote.start()

    def answering(self, lease: Lease) -> Answering:
        """Return the URL and settings of the service, through a tunnel.

        Raises:
            NotYetError: it is not ready yet.
            StrataError: it has exited; the message has its last lines.
        """
        return self._remote(lease).answering()

    def logs(self, lease: Lease) -> str:
        """Return the last lines that the machine and its service have printed.

        Raises:
            InfrastructureError: it cannot be reached.
        """
        return self._remote(lease).logs()

    def shell(self, lease: Lease) -> list[str]:
        """Return the command that opens a shell on the machine.

        Raises:
            InfrastructureError: its address is unknown.
        """
        return self._remote(lease).shell()

    def terminate(self, tag: str) -> None:
        """Terminate machines with a tag, whether or not SkyPilot knows them.

        Raises:
            InfrastructureError: the cloud refuses, or does not respond.
        """
        if tag in self._remotes:
            self._remotes.pop(tag).close()
        patience = APPEARS if tag in self._unanswered else 0
        self._ask("terminate", lease=tag, patience=patience)

    def list(self) -> Iterator[Machine]:
        """Return the machines with a tag of this project, as listed by the cloud itself.

        Raises:
            InfrastructureError: the cloud does not respond.
        """
        for each in self._ask("machines"):
            if leases.is_ours(each["tag"]):
                yield Machine(each["tag"], each["name"], each["state"])

    def _remote(self, lease: Lease) -> ssh.Remote:
        if lease.id not in self._remotes:
            known = results.read(lease.folder / REACHED)
            if not known:
                raise InfrastructureError(
                    f"the machine {lease.id} was not reached so far",
                    f"uv run invoke cloud.list --cloud {self.name}",
                )
            self._remotes[lease.id] = ssh.Remote(lease, **known)
        return self._remotes[lease.id]

    def _ask(self, what: str, *, limit: float = limits.CLOUD, **words: object) -> Any:
        """Return the response of SkyPilot or the cloud to a request.

        Raises:
            ConfigurationError: there is no such machine.
            InfrastructureError: the request cannot be sent, or fails.
        """
        self.credentials()
        programs = tools.provide(tool(self.name))
        command = (str(programs / "python"), "-I", str(PROGRAM), self.name, what, json.dumps(words))
        hint = f"uv run invoke cloud.list --cloud {self.name}"
        reader, writer = os.pipe()
        with (
            progress(f"have {self.name} {DOES[what]}"),
            # Not a pipe, which SkyPilot's children may hold open for long.
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
            subprocess.Popen(
                command,
                env=self._environment(programs),
                cwd=home(),
                stdin=reader,
                stdout=subprocess.PIPE,
                stderr=said,
                encoding="utf-8",
                # Our signals must not kill it: it exits when we do, by the end of its input.
                start_new_session=True,
            ) as asked,
        ):
            os.close(reader)
            try:
                text, _ = asked.communicate(timeout=limit)
            except subprocess.TimeoutExpired as error:
                raise InfrastructureError(
                    f"{self.name} does not {DOES[what]}: there was no answer after {limit:g} s",
                    hint,
                ) from error
            finally:
                os.close(writer)
            said.seek(0)
            reasons = _reasons(said.read())
        answer: dict[str, Any] = json.loads(text or '{"error": ""}')
        if "unknown" in answer:
            asked_for, *there = answer["unknown"]
            raise ConfigurationError(
                f"{self.name} has no {asked_for} on spot",
                did_you_mean(asked_for, there, "name another: --instance NAME, --region NAME"),
            )
        if "error" in answer:
            raise InfrastructureError(
                f"{self.name} does not {DOES[what]}: {answer['error'] or reasons}",
                ACCOUNTS[self.name].hint if what == "check" else hint,
            )
        return answer["answer"]

    def _environment(self, programs: Path) -> dict[str, str]:
        """Return SkyPilot's environment: a home of its own, with the credentials of one cloud."""
        folder = ACCOUNTS[self.name].folder
        link = home() / folder
        with translated("SkyPilot cannot have a home of its own"):
            link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not link.is_symlink():
                link.symlink_to(Path.home() / folder)
            # By default SkyPilot copies credentials to the machine, even those of other clouds.
            config = home() / "config.yaml"
            results.write(config, json.dumps({self.name: {"remote_identity": "NO_UPLOAD"}}))
            # SkyPilot does not accept /dev/null as an empty settings file.
            (nothing := home() / "nothing").touch()
        path = os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath)))
        region = os.environ.get("AWS_REGION", "us-east-1")
        return {
            # Required to look up the identity; it need not be the machine's region.
            "AWS_DEFAULT_REGION": region,
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            # SkyPilot builds its own wheel for the machine; 0 is how pip spells this option.
            "PIP_NO_BUILD_ISOLATION": "0",
            **{name: str(nothing) if it == os.devnull else it for name, it in os.environ.items()},
            "PATH": path,
            "HOME": str(home()),
            "SKYPILOT_PROJECT_CONFIG": str(config),
        }


def tool(cloud: str) -> tools.Tool:
    """Return SkyPilot as a tool, with the clients of one cloud."""
    return tools.Tool(f"skypilot-{cloud}", (f"skypilot[{cloud}]{VERSION}",))


def home() -> Path:
    """Return SkyPilot's home folder: its catalogs, its key, and its records of machines."""
    return user_cache_path(str(table()["project"])) / "sky"


def _reasons(said: str) -> str:
    """Return the reasons in SkyPilot's output, else its last lines."""
    lines = [" ".join(line.split()) for line in re.sub(r"\x1b\[[\d;]*m", "", said).splitlines()]
    lines = [line for line in lines if line and not line.startswith("<sky-payload>")]
    reasons = dict.fromkeys(line for line in lines if re.search(r"Reason|\w+Error:", line))
    return " ".join([*reasons] or lines[-3:])
