"""Script that calls SkyPilot, and the cloud's own API: `sky_program.py CLOUD WHAT JSON`.

It runs in the tool's environment. The response is a line of JSON on standard output; all other
output goes to standard error. It exits with its caller, which holds the other end of standard
input: if the caller is killed, nothing here keeps renting. SkyPilot runs in this process and not in
its own API server, which would keep running too.

Machines are listed and terminated through the cloud's API: SkyPilot only knows those that it has
recorded on this computer.
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
"""Disk size in gigabytes; SkyPilot's default is 256."""
THREADS = 16
"""Number of regions to query concurrently."""
NAMES = {"aws": "AWS", "gcp": "GCP", "azure": "Azure"}
"""SkyPilot's names of the clouds."""


class UnknownError(Exception):
    """The machine or region is unknown; the arguments are its name and the available ones."""


class RefusedError(Exception):
    """SkyPilot does not accept the credentials; it has printed why."""


def check(cloud: str) -> None:
    """Make sure that the credentials allow launching machines."""
    from sky import check as checks

    found: dict[str, dict[str, list[str]]] = checks.check(clouds=[cloud])
    if not any("compute" in each.get(NAMES[cloud], ()) for each in found.values()):
        raise RefusedError


def quote(cloud: str, instance: str, region: str) -> dict[str, Any]:
    """Return the hourly price of a spot machine, by default in the cheapest region."""
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
    # They are sorted by price.
    region = region or regions[0]
    usd = catalog.get_hourly_cost(instance, use_spot=True, region=region, zone=None, clouds=cloud)
    return {"region": region, "usd": usd}


def launch(cloud: str, lease: str, instance: str, region: str, minutes: int) -> dict[str, Any]:
    """Launch a labelled spot machine that stops itself, and return its SSH address and key."""
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
    """Return all machines with the label, with their names in the cloud."""
    return list(CLOUDS[cloud]().machines())


def terminate(cloud: str, lease: str, patience: float) -> None:
    """Terminate the machines of a lease, looking for them for up to `patience` seconds."""
    client, end = CLOUDS[cloud](), time.monotonic() + patience
    while True:
        found = [each for each in client.machines() if each["tag"] == lease]
        if found or time.monotonic() > end:
            break
        time.sleep(1)  # Polling: clouds do not announce new machines.
    for each in found:
        client.end(each)


class Aws:
    """EC2, in every region of the account."""

    GONE = ("terminated",)

    def __init__(self) -> None:
        """Create a session, and choose the region used to list the others."""
        import boto3

        self.session = boto3.Session()
        self.home = self.session.region_name or "us-east-1"

    def client(self, region: str) -> Any:
        """Return the client of a region."""
        from botocore.config import Config

        # A region that does not respond may have a machine.
        return self.session.client("ec2", region, config=Config(retries={"total_max_attempts": 4}))

    def machines(self) -> Iterator[dict[str, str]]:
        """Return the machines with the label."""
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
        """Create the API client."""
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
        """Return the machines with the label."""
        request = self.instances.aggregatedList(project=self.project, filter=f"labels.{LABEL}:*")
        while request is not None:
            answer = request.execute()
            # A zone that does not respond may have a machine.
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
        """Return the machines with the label."""
        for each in self.compute.virtual_machines.list_all():
            if LABEL in (each.tags or {}):
                yield {
                    "tag": each.tags[LABEL],
                    "name": each.tags["ray-cluster-name"],
                    "state": each.provisioning_state.lower(),
                    "where": each.id.split("/")[4],
                }

    def end(self, machine: dict[str, str]) -> None:
        """Delete a machine with its resource group, where SkyPilot puts everything it needs."""
        from sky.provision.azure import instance

        instance.terminate_instances(
            machine["name"],
            {
                "subscription_id": self.subscription,
                "resource_group": machine["where"],
                # A group that was not created by SkyPilot is kept.
                "use_external_resource_group": not machine["where"].startswith(machine["name"]),
            },
        )


CLOUDS: dict[str, Any] = {"aws": Aws, "gcp": Gcp, "azure": Azure}
ASKED = {each.__name__: each for each in (check, quote, launch, machines, terminate)}


def main() -> None:
    """Handle the request on the command line."""
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
    except Exception as error:  # noqa: BLE001 - SkyPilot and the clouds' clients raise anything
        answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    answers.write(json.dumps(answer))
    answers.flush()
    sys.stdout.flush()
    # SkyPilot's threads and children could keep running for long.
    os.killpg(0, signal.SIGKILL)


def _end_with_caller() -> None:
    sys.stdin.read()
    # With all children: this process leads its group.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
