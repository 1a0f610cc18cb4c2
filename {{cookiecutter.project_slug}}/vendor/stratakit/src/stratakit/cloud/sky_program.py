"""Asks SkyPilot, and the cloud by its own API: `sky_program.py CLOUD WHAT JSON`.

It runs in the environment of the tool. The answer is a line of JSON on standard output; what others
print goes to standard error. It ends with its caller, which holds the other end of standard input:
whoever kills that one leaves nothing here that goes on renting. SkyPilot is called in this process
and by no server of its own, which would go on too.

What is there is asked of the cloud, and what is given back is given back to it: SkyPilot knows
alone what it has noted on this computer.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

LABEL = "strata-lease"
DISK = 50
"""Gigabytes; 256, unless somebody says so."""
THREADS = 16
"""Regions that are asked at once."""
NAMES = {"aws": "AWS", "gcp": "GCP", "azure": "Azure"}
"""What SkyPilot calls them."""


class UnknownError(Exception):
    """There is no such machine; its text is a list of those that are there."""


class RefusedError(Exception):
    """SkyPilot does not accept the credentials; it has printed why."""


def check(cloud: str) -> None:
    """Return if machines can be made with the credentials."""
    from sky import check as checks

    found: dict[str, dict[str, list[str]]] = checks.check(clouds=[cloud])
    if not any("compute" in each.get(NAMES[cloud], ()) for each in found.values()):
        raise RefusedError


def quote(cloud: str, instance: str, region: str) -> dict[str, Any]:
    """Return what a spot machine costs in an hour, by default where it costs least."""
    from sky import catalog

    if not catalog.instance_type_exists(instance, clouds=cloud):
        raise UnknownError(instance)
    regions = [
        each.name
        for each in catalog.get_region_zones_for_instance_type(
            instance, use_spot=True, clouds=cloud
        )
    ]
    if not regions or (region and region not in regions):
        raise UnknownError(region or instance, *regions)
    # They come by their price.
    region = region or regions[0]
    usd = catalog.get_hourly_cost(instance, use_spot=True, region=region, zone=None, clouds=cloud)
    return {"region": region, "usd": usd}


def launch(cloud: str, lease: str, instance: str, region: str, minutes: int) -> dict[str, Any]:
    """Make a spot machine that carries the label and ends itself, and return how SSH reaches it."""
    import sky
    from sky import execution
    from sky.backends import backend_utils

    task = sky.Task(name="machine")
    task.set_resources(
        sky.Resources(
            infra=f"{cloud}/{region}",
            instance_type=instance,
            use_spot=True,
            disk_size=DISK,
            labels={LABEL: lease},
            autostop={"idle_minutes": minutes, "down": True},
        )
    )
    _, handle = execution.launch(task, cluster_name=lease, _quiet_optimizer=True)
    known = backend_utils.ssh_credential_from_yaml(handle.cluster_yaml, ssh_user=handle.ssh_user)
    return {
        "host": handle.external_ips()[0],
        "port": handle.external_ssh_ports()[0],
        "user": known["ssh_user"],
        "key": Path(known["ssh_private_key"]).expanduser().read_text(encoding="utf-8"),
    }


def machines(cloud: str) -> list[dict[str, str]]:
    """Return what carries the label, with the names by which the cloud knows it."""
    return list(CLOUDS[cloud]().machines())


def terminate(cloud: str, lease: str, patience: float) -> None:
    """Give back what carries the label of a lease, for which it may look some seconds."""
    client, end = CLOUDS[cloud](), time.monotonic() + patience
    while True:
        found = [each for each in client.machines() if each["tag"] == lease]
        if found or time.monotonic() > end:
            break
        time.sleep(1)  # Between two looks: a cloud tells nobody what it has made.
    for each in found:
        client.end(each)


class Aws:
    """EC2, in each region that the account has."""

    GONE = ("terminated",)

    def __init__(self) -> None:
        """Make its client for a region, which only asks for the others."""
        import boto3

        self.session = boto3.Session()
        self.home = self.session.region_name or "us-east-1"

    def client(self, region: str) -> Any:
        """Return the client of a region."""
        from botocore.config import Config

        # A region without an answer is a machine that may be there.
        return self.session.client("ec2", region, config=Config(retries={"total_max_attempts": 4}))

    def machines(self) -> Iterator[dict[str, str]]:
        """Return what carries the label."""
        regions = self.client(self.home).describe_regions()["Regions"]
        clients = [self.client(each["RegionName"]) for each in regions]
        with ThreadPoolExecutor(THREADS) as pool:
            for found in pool.map(self._of, clients):
                yield from found

    def _of(self, client: Any) -> list[dict[str, str]]:
        pages = client.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "tag-key", "Values": [LABEL]}]
        )
        return [
            {
                "tag": next(tag["Value"] for tag in each["Tags"] if tag["Key"] == LABEL),
                "name": each["InstanceId"],
                "state": each["State"]["Name"],
                "where": client.meta.region_name,
            }
            for page in pages
            for reservation in page["Reservations"]
            for each in reservation["Instances"]
            if each["State"]["Name"] not in self.GONE
        ]

    def end(self, machine: dict[str, str]) -> None:
        """Terminate an instance; its disk goes with it."""
        self.client(machine["where"]).terminate_instances(InstanceIds=[machine["name"]])


class Gcp:
    """Compute Engine, in the project of the credentials."""

    def __init__(self) -> None:
        """Make its client."""
        import google.auth
        import googleapiclient.discovery
        from sky.clouds import GCP

        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        credentials, _ = google.auth.default(scopes=scopes)
        self.project = GCP.get_project_id()
        self.instances = googleapiclient.discovery.build(
            "compute", "v1", credentials=credentials, cache_discovery=False
        ).instances()

    def machines(self) -> Iterator[dict[str, str]]:
        """Return what carries the label."""
        request = self.instances.aggregatedList(project=self.project, filter=f"labels.{LABEL}:*")
        while request is not None:
            answer = request.execute()
            # A zone without an answer is a machine that may be there.
            if silent := answer.get("unreachables"):
                raise OSError(", ".join(silent))
            for each in answer.get("items", {}).values():
                for found in each.get("instances", ()):
                    yield {
                        "tag": found["labels"][LABEL],
                        "name": found["name"],
                        "state": found["status"].lower(),
                        "where": found["zone"].rpartition("/")[2],
                    }
            request = self.instances.aggregatedList_next(request, answer)

    def end(self, machine: dict[str, str]) -> None:
        """Delete an instance; its disk goes with it."""
        self.instances.delete(
            project=self.project, zone=machine["where"], instance=machine["name"]
        ).execute()


class Azure:
    """Virtual machines, in the subscription of the command line."""

    def __init__(self) -> None:
        """Look up the subscription."""
        from sky.adaptors import azure
        from sky.clouds import Azure as Cloud

        self.subscription = Cloud.get_project_id()
        self.compute = azure.get_client("compute", self.subscription)

    def machines(self) -> Iterator[dict[str, str]]:
        """Return what carries the label."""
        for each in self.compute.virtual_machines.list_all():
            if LABEL in (each.tags or {}):
                yield {
                    "tag": each.tags[LABEL],
                    "name": each.tags["ray-cluster-name"],
                    "state": each.provisioning_state.lower(),
                    "where": each.id.split("/")[4],
                }

    def end(self, machine: dict[str, str]) -> None:
        """Delete a machine with its group, in which SkyPilot has put whatever belongs to it."""
        from sky.provision.azure import instance

        instance.terminate_instances(
            machine["name"],
            {
                "subscription_id": self.subscription,
                "resource_group": machine["where"],
                # A group that others have made stays.
                "use_external_resource_group": not machine["where"].startswith(machine["name"]),
            },
        )


CLOUDS: dict[str, Any] = {"aws": Aws, "gcp": Gcp, "azure": Azure}
ASKED = {each.__name__: each for each in (check, quote, launch, machines, terminate)}


def main() -> None:
    """Answer what the command line asks."""
    cloud, what, words = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_caller, daemon=True).start()
    answer: dict[str, Any]
    try:
        answer = {"answer": ASKED[what](cloud, **json.loads(words))}
    except UnknownError as error:
        answer = {"unknown": error.args}
    except RefusedError:
        answer = {"error": ""}
    except Exception as error:  # noqa: BLE001 - whatever SkyPilot and the clients of clouds raise
        answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    answers.write(json.dumps(answer))
    answers.flush()
    sys.stdout.flush()
    # Threads of SkyPilot, and what it has started, may go on for long.
    os.killpg(0, signal.SIGKILL)


def _end_with_caller() -> None:
    sys.stdin.read()
    # Whatever was started here, too: this process is the first of its group.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
