"""Fakes of SkyPilot and cloud clients, as far as the tier cloud uses them; an account is a file.

In the environment of the tool, `install` puts them in the place of the real modules. Their signatures
match the real ones, which `tests/project/test_cloud_sky.py` checks.
"""

import importlib
import inspect
import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

FILE = "FAKE_SKYPILOT_ACCOUNT"
"""Environment variable with the path of the account's file."""
LABEL = "strata-lease"
NAMES = {"aws": "AWS", "gcp": "GCP", "azure": "Azure"}
PRICES = {
    "aws": {"r7a.large": {"us-east-2": 0.0452, "us-east-1": 0.0635}},
    "gcp": {"n2d-highmem-2": {"us-central1": 0.02}},
    "azure": {"Standard_E2s_v5": {"eastus": 0.03}, "Standard_M1": {}},
}
"""Spot prices in US dollars an hour; regions are sorted by price."""


@dataclass
class Account:
    """State of the clouds, and their responses."""

    usable: bool = True
    """Whether the credentials are accepted."""
    error: str = ""
    """Error of the catalog."""
    hangs: bool = False
    """Whether a launch never ends."""
    crashes: bool = False
    """Whether a launch ends the process."""
    silent: list[str] = field(default_factory=list)
    """Zones that do not respond."""
    late: int = 0
    """Number of listings before machines appear."""
    host: str = "127.0.0.1"
    port: int = 22
    user: str = "ubuntu"
    key: str = ""
    """Path of the private key that machines accept."""
    machines: list[dict[str, str]] = field(default_factory=list)
    """Machines, each with `cloud`, `tag`, `name`, `state` and `where`."""
    asked: dict[str, Any] = field(default_factory=dict)
    """Arguments of the last launch and the last termination."""

    @classmethod
    def load(cls) -> Self:
        """Read the account."""
        return cls(**json.loads(Path(os.environ[FILE]).read_text(encoding="utf-8")))

    def save(self) -> None:
        """Write the account."""
        Path(os.environ[FILE]).write_text(json.dumps(asdict(self)), encoding="utf-8")


def machines(cloud: str) -> list[dict[str, str]]:
    """Return the machines that a cloud lists, none while it is `late`."""
    account = Account.load()
    if account.late:
        account.late -= 1
        account.save()
        return []
    return [each for each in account.machines if each["cloud"] == cloud]


def remove(name: str, **told: Any) -> None:
    """Remove a machine."""
    account = Account.load()
    account.machines = [each for each in account.machines if each["name"] != name]
    account.asked = {"name": name, **told}
    account.save()


def check(*, clouds: list[str]) -> dict[str, dict[str, list[str]]]:
    """Return the enabled capabilities, by workspace and cloud."""
    if Account.load().usable:
        return {"default": {NAMES[cloud]: ["compute", "storage"] for cloud in clouds}}
    print("  AWS: disabled\n    Reason [compute]: the key has expired.")
    return {"default": {}}


def instance_type_exists(instance_type: str, *, clouds: str) -> bool:
    """Return whether a cloud has such a machine."""
    if error := Account.load().error:
        raise OSError(error)
    return instance_type in PRICES[clouds]


def get_region_zones_for_instance_type(
    instance_type: str, *, use_spot: bool, clouds: str
) -> list[SimpleNamespace]:
    """Return the regions with such a machine on spot."""
    assert use_spot
    return [SimpleNamespace(name=name) for name in PRICES[clouds][instance_type]]


def get_hourly_cost(
    instance_type: str, *, use_spot: bool, region: str, zone: None, clouds: str
) -> float:
    """Return the price of such a machine."""
    assert (use_spot, zone) == (True, None)
    return PRICES[clouds][instance_type][region]


class Resources:
    """Requirements for a machine."""

    def __init__(
        self,
        *,
        infra: str,
        instance_type: str,
        use_spot: bool,
        disk_size: int,
        labels: dict[str, str],
        autostop: dict[str, Any],
    ) -> None:
        """Record the arguments."""
        self.told: dict[str, Any] = {
            "infra": infra,
            "instance_type": instance_type,
            "use_spot": use_spot,
            "disk_size": disk_size,
            "labels": labels,
            "autostop": autostop,
        }


class Task:
    """A task to launch."""

    def __init__(self, *, name: str) -> None:
        """Set its name."""
        self.name = name
        self.resources: Resources | None = None

    def set_resources(self, resources: Resources) -> None:
        """Set the resources it runs on."""
        self.resources = resources


def launch(task: Task, *, cluster_name: str, _quiet_optimizer: bool) -> tuple[int, SimpleNamespace]:
    """Make a machine."""
    assert _quiet_optimizer
    assert task.resources
    told = task.resources.told
    account = Account.load()
    cloud, _, region = told["infra"].partition("/")
    account.asked = told
    machine = {"cloud": cloud, "tag": told["labels"][LABEL], "name": f"{cluster_name}-head"}
    account.machines.append({**machine, "state": "running", "where": region})
    account.save()
    if account.hangs:
        threading.Event().wait()
    if account.crashes:
        print("W: no disk\nE: killed", file=sys.stderr, flush=True)
        os._exit(1)
    return 1, SimpleNamespace(
        cluster_yaml="cluster.yml",
        ssh_user=account.user,
        external_ips=lambda: [account.host],
        external_ssh_ports=lambda: [account.port],
    )


def ssh_credential_from_yaml(cluster_yaml: str, *, ssh_user: str) -> dict[str, str]:
    """Return the SSH credentials."""
    assert cluster_yaml
    return {"ssh_user": ssh_user, "ssh_private_key": Account.load().key}


class Project:
    """Project or subscription of an account."""

    @staticmethod
    def get_project_id() -> str:
        """Return its name."""
        return "ours"


class Session:
    """boto3's session."""

    region_name: str | None = None

    def client(self, service_name: str, region_name: str, *, config: object) -> "Ec2":
        """Return the client of a region."""
        assert (service_name, bool(config)) == ("ec2", True)
        return Ec2(region_name)


class Config:
    """Configuration of an AWS client."""

    def __init__(self, *, retries: dict[str, int]) -> None:
        """Set the retries."""
        self.retries = retries


class Ec2:
    """EC2 in one region, which lists a machine for some time after its termination."""

    def __init__(self, region: str) -> None:
        """Set the region."""
        self.meta = SimpleNamespace(region_name=region)

    def describe_regions(self) -> dict[str, Any]:
        """Return the regions of the account."""
        return {"Regions": [{"RegionName": name} for name in PRICES["aws"]["r7a.large"]]}

    def get_paginator(self, operation: str) -> SimpleNamespace:
        """Return a paginator."""
        assert operation == "describe_instances"
        return SimpleNamespace(paginate=self._pages)

    def _pages(self, Filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:  # noqa: N803 - AWS's
        assert Filters == [{"Name": "tag-key", "Values": [LABEL]}]
        yield {"Reservations": []}
        for each in machines("aws"):
            if each["where"] == self.meta.region_name:
                tags = {"Name": each["name"], LABEL: each["tag"]}
                instance = {
                    "InstanceId": each["name"],
                    "State": {"Name": each["state"]},
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
                yield {"Reservations": [{"Instances": [instance]}]}

    def terminate_instances(self, InstanceIds: list[str]) -> None:  # noqa: N803 - AWS's
        """Terminate machines of the region."""
        account = Account.load()
        for each in account.machines:
            if (each["name"], each["where"]) == (*InstanceIds, self.meta.region_name):
                each["state"] = "terminated"
        account.save()


class Instances:
    """Compute Engine, which returns a page for each zone."""

    def aggregatedList(  # noqa: N802 - Google's
        self,
        *,
        project: str,
        filter: str,  # noqa: A002 - Google's
    ) -> SimpleNamespace:
        """Return the request for the first page."""
        assert (project, filter) == ("ours", f"labels.{LABEL}:*")
        first = {"unreachables": Account.load().silent, "items": {"zones/none": {"warning": {}}}}
        return self._page([first, *map(_zone, machines("gcp"))])

    def aggregatedList_next(  # noqa: N802 - Google's
        self, previous_request: SimpleNamespace, previous_response: dict[str, Any]
    ) -> SimpleNamespace | None:
        """Return the request for the next page."""
        assert previous_response
        rest = previous_request.pages[1:]
        return self._page(rest) if rest else None

    def delete(self, *, project: str, zone: str, instance: str) -> SimpleNamespace:
        """Return the request to delete a machine."""
        assert project == "ours"
        return SimpleNamespace(execute=lambda: remove(instance, zone=zone))

    def _page(self, pages: list[dict[str, Any]]) -> SimpleNamespace:
        return SimpleNamespace(pages=pages, execute=lambda: pages[0])


def _zone(machine: dict[str, str]) -> dict[str, Any]:
    zone = f"{machine['where']}-a"
    found = {
        "labels": {LABEL: machine["tag"]},
        "name": machine["name"],
        "status": machine["state"].upper(),
        "zone": f"https://compute/zones/{zone}",
    }
    return {"items": {f"zones/{zone}": {"instances": [found]}}}


def build(
    serviceName: str,  # noqa: N803 - Google's
    version: str,
    *,
    credentials: object,
    cache_discovery: bool,
) -> SimpleNamespace:
    """Return the client of a Google service."""
    assert (serviceName, version, cache_discovery) == ("compute", "v1", False)
    assert credentials
    return SimpleNamespace(instances=Instances)


def default(*, scopes: list[str]) -> tuple[object, str]:
    """Return Google's credentials and their project."""
    assert scopes
    return object(), "ours"


def get_client(name: str, subscription_id: str) -> SimpleNamespace:
    """Return a client of Azure."""
    assert (name, subscription_id) == ("compute", "ours")
    return SimpleNamespace(virtual_machines=SimpleNamespace(list_all=_virtual_machines))


def _virtual_machines() -> Iterator[SimpleNamespace]:
    yield SimpleNamespace(tags=None)
    for each in machines("azure"):
        yield SimpleNamespace(
            id=f"/subscriptions/ours/resourceGroups/{each['where']}/providers/machine",
            tags={LABEL: each["tag"], "ray-cluster-name": each["name"]},
            provisioning_state=each["state"].title(),
        )


def terminate_instances(cluster_name_on_cloud: str, provider_config: dict[str, Any]) -> None:
    """Terminate the machines of a cluster in Azure."""
    remove(cluster_name_on_cloud, **provider_config)


MODULES: dict[str, dict[str, Any]] = {
    "sky": {"Resources": Resources, "Task": Task},
    "sky.check": {"check": check},
    "sky.catalog": {
        "instance_type_exists": instance_type_exists,
        "get_region_zones_for_instance_type": get_region_zones_for_instance_type,
        "get_hourly_cost": get_hourly_cost,
    },
    "sky.execution": {"launch": launch},
    "sky.backends": {},
    "sky.backends.backend_utils": {"ssh_credential_from_yaml": ssh_credential_from_yaml},
    "sky.clouds": {"GCP": Project, "Azure": Project},
    "sky.adaptors": {},
    "sky.adaptors.azure": {"get_client": get_client},
    "sky.provision": {},
    "sky.provision.azure": {},
    "sky.provision.azure.instance": {"terminate_instances": terminate_instances},
    "boto3": {"Session": Session},
    "botocore": {},
    "botocore.config": {"Config": Config},
    "google": {},
    "google.auth": {"default": default},
    "googleapiclient": {},
    "googleapiclient.discovery": {"build": build},
}
"""Modules that the tier imports in the tool's environment; parents come first."""


def install() -> None:
    """Replace the real modules."""
    for name, members in MODULES.items():
        module = sys.modules[name] = ModuleType(name)
        vars(module).update(members)
        holder, _, last = name.rpartition(".")
        if holder:
            setattr(sys.modules[holder], last, module)
    if "COVERAGE_PROCESS_CONFIG" in os.environ:
        _measure()


def hold_to_the_real_ones() -> None:
    """Compare the signatures with the real ones, in an environment with SkyPilot and boto3.

    Raises:
        AttributeError: a function or class no longer exists.
        TypeError: its signature differs.
    """
    for name, members in MODULES.items():
        # Google's clients are not in that environment.
        for member, ours in () if name.startswith("google") else members.items():
            real = getattr(importlib.import_module(name), member)
            _compare(ours, real)
            for method, function in vars(ours).items() if inspect.isclass(ours) else ():
                if not method.startswith("_") and function is not None:
                    _compare(getattr(ours, method), getattr(real, method))


def _compare(ours: Any, real: Any) -> None:
    given = inspect.signature(ours).parameters.values()
    inspect.signature(real).bind(
        *(each.name for each in given if each.kind == each.POSITIONAL_OR_KEYWORD),
        **{each.name: "" for each in given if each.kind == each.KEYWORD_ONLY},
    )


def _measure() -> None:
    """Measure coverage, and save the data before the process group is killed."""
    coverage: Any = importlib.import_module("coverage")
    # A no-op if coverage has already started.
    coverage.process_startup()
    measured, kill = coverage.Coverage.current(), os.killpg

    def keep_and_kill(group: int, number: int) -> None:
        measured.stop()
        measured.save()
        kill(group, number)

    os.killpg = keep_and_kill
