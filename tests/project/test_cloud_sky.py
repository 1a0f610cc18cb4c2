"""The real SkyPilot on a local AWS: machines are terminated however a run ends.

The tests have no network but the loopback: otherwise SkyPilot would connect to the machine's made-up
address by SSH, and download its catalog. So health and request cannot be tested here.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import fake_skypilot
import pytest
import yaml
from baking import Bakery
from project import Project, ready

APART = ("unshare", "--net")


def lacking() -> str:
    """Return why an isolated network is impossible here; empty if it is possible."""
    if missing := [name for name in ("unshare", "ip", "ssh", "rsync") if not shutil.which(name)]:
        return f"there is no program {', '.join(missing)}"
    allowed = subprocess.run((*APART, "ip", "link", "set", "lo", "up"), check=False).returncode == 0
    return "" if allowed else "only root may make a network of its own"


LACKING = lacking()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.proof(of="cloud"),
    # Two runs, each of which imports SkyPilot three times.
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(LACKING), reason=LACKING),
]

CATALOG = {
    "vms": """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch
r7a.large,,,2.0,16.0,,0.15215,0.0635,us-east-1,use1-az1,x86_64
r7a.large,,,2.0,16.0,,0.15215,0.0452,us-east-2,use2-az1,x86_64
""",
    # An image of the local AWS.
    "images": """\
Tag,Region,OS,OSVersion,ImageId,CreationDate,BaseImageId
skypilot:custom-cpu-ubuntu,us-east-1,ubuntu,22.04,ami-0fedcba9876543210,20241104,ami-0fedcba9876543210
skypilot:custom-cpu-ubuntu,us-east-2,ubuntu,22.04,ami-0fedcba9876543210,20241104,ami-0fedcba9876543210
""",
    "instance_quota_mapping": """\
InstanceType,OnDemandInstanceCode,SpotInstanceCode
r7a.large,L-1216C47A,L-34B43A08
""",
}
"""Catalogs that SkyPilot would otherwise download; it does not replace existing files."""
CREDENTIALS = "[default]\naws_access_key_id = test\naws_secret_access_key = test\n"
TOOLS = """
from stratakit.cloud import sky
from stratakit.infra import tools
tools.provide(tools.MINISTACK)
print(sky.home(), tools.provide(sky.tool("aws")), sep="\\n")
"""
CREATE_GATEWAYS = """
import boto3
for region in ("us-east-1", "us-east-2"):
    ec2 = boto3.client("ec2", region)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"])
    table = ec2.describe_route_tables()["RouteTables"][0]["RouteTableId"]
    ec2.create_route(RouteTableId=table, GatewayId=gateway, DestinationCidrBlock="0.0.0.0/0")
"""
"""Creates the internet gateway that every new AWS account has."""
LIST_INSTANCES = """
import boto3, json
print(json.dumps([
    [each["InstanceType"], each["State"]["Name"]]
    for page in boto3.client("ec2", "us-east-2").describe_instances()["Reservations"]
    for each in page["Instances"]
]))
"""
LIST_CREDENTIALS = "from sky import check; print(check.get_cloud_credential_file_mounts(None))"
"""Credentials that SkyPilot copies to a machine by default."""
CHECK_THE_FAKE = "import fake_skypilot; fake_skypilot.hold_to_the_real_ones()"
GOOGLE = """
import json
from googleapiclient.discovery import build
from googleapiclient.http import HttpMockSequence
import sky_program

found = {"name": "one", "status": "RUNNING", "zone": "https://compute/zones/z", "labels": {"strata-lease": "tag"}}
pages = {"items": {}, "nextPageToken": "more"}, {"items": {"zones/z": {"instances": [found]}}}, {}
http = HttpMockSequence([({"status": "200"}, json.dumps(page)) for page in pages])
gcp = object.__new__(sky_program.Gcp)
gcp.project = "ours"
gcp.instances = build("compute", "v1", http=http, cache_discovery=False).instances()
(machine,) = gcp.machines()
gcp.end(machine)
print(json.dumps([machine, [[how, uri.rpartition("/projects/")[2]] for uri, how, *_ in http.request_sequence]]))
"""
RUNS = """
import json, os, signal, subprocess, sys
from pathlib import Path
import psutil
from stratakit.cloud import leases, providers, sky
from stratakit.errors import StrataError
from stratakit.infra import clouds
from stratakit.servers.waiting import until

tool, network, seen, mounts, folder = sys.argv[1:]
subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
aws = providers.provider("aws")

def ask_aws(script):
    return subprocess.run((f"{tool}/python", "-c", script), check=True, capture_output=True,
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-2"}, text=True).stdout

def there():
    return [[each.tag, each.state] for each in aws.list()]

def run(name, end):
    file = Path(folder, f"{name}.json")
    words = ("--cloud", "aws", "--results", str(file))
    # Its output goes to a file, so that children still holding it do not block.
    with Path(folder, f"{name}.log").open("wb") as log:
        begun = subprocess.Popen((sys.executable, "-m", "stratakit.cloud", *words), stdout=log, stderr=log)
        def launched():
            assert there()
        def unless_over():
            if begun.poll() is not None:
                raise StrataError(Path(log.name).read_text())
            launched()
        until(unless_over, 300, unless=StrataError)
        tags, rented = there(), json.loads(ask_aws(seen))
        begun.send_signal(end)
        code = begun.wait(300)
    return {"there": tags, "rented": rented, "code": code, "output": Path(log.name).read_text(),
        "left": there(), "leases": [lease.id for lease in leases.all_of()],
        "rows": json.loads(file.read_text())["tests"] if file.exists() else []}

def asking():
    program = str(sky.PROGRAM)
    return [each.pid for each in psutil.process_iter(["cmdline"]) if program in (each.info["cmdline"] or ())]

def none_asks():
    assert not asking()

with clouds.running("aws"):
    # Credentials in a file, as most users have them.
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        del os.environ[f"AWS_{name}"]
    ask_aws(network)
    copied = subprocess.run((f"{tool}/python", "-c", mounts), env=aws._environment(Path(tool)),
        capture_output=True, check=True, text=True).stdout
    unknown = None
    try:
        aws.quote("r7a.lrge", "")
    except StrataError as error:
        unknown = [error.code, str(error)]
    usual, os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CACHE_HOME"], str(Path(folder, "empty"))
    offline = aws.quote("", "")
    os.environ["XDG_CACHE_HOME"] = usual
    interrupted = run("interrupted", signal.SIGINT)
    killed = run("killed", signal.SIGKILL)
    until(none_asks, 30)
    reaped = subprocess.run((sys.executable, "-m", "invoke", "cloud.reap", "--cloud", "aws"),
        capture_output=True, text=True)
    answer = {"unknown": unknown, "offline": [offline.usd_per_hour, offline.source], "interrupted": interrupted, "killed": killed,
        "reaped": [reaped.returncode, reaped.stdout + reaped.stderr],
        "left": there(), "leases": [lease.id for lease in leases.all_of()], "seen": json.loads(ask_aws(seen)), "copied": copied}
Path(folder, "answer.json").write_text(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with its own leases and caches."""
    project = ready(bake, tmp_path_factory.mktemp("sky"), "Acme Sky", clouds="all")
    home = tmp_path_factory.mktemp("home")
    credentials = home / ".aws" / "credentials"
    credentials.parent.mkdir()
    credentials.write_text(CREDENTIALS, encoding="utf-8")
    own = {"HOME": str(home)}
    own |= {"XDG_DATA_HOME": str(home / "data"), "XDG_CACHE_HOME": str(home / "cache")}
    uv = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))}
    return Project(project.path, project.answers, {**project.environment, **own, **uv})


@pytest.fixture(scope="module")
def tool(project: Project) -> list[str]:
    """SkyPilot's home, and the folder of its programs."""
    python = str(project.path / ".venv" / "bin" / "python")
    return project.run(python, "-c", TOOLS).stdout.splitlines()[-2:]


@pytest.fixture(scope="module")
def results(
    project: Project, tool: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return the results of a run interrupted while SkyPilot launched, and of a killed one."""
    python, folder = str(project.path / ".venv" / "bin" / "python"), tmp_path_factory.mktemp("runs")
    home, programs = tool
    catalog = Path(home, ".sky", "catalogs", "v8", "aws")
    catalog.mkdir(parents=True)
    for name, text in CATALOG.items():
        (catalog / f"{name}.csv").write_text(text, encoding="utf-8")
    project.run(
        *APART,
        python,
        "-c",
        RUNS,
        programs,
        CREATE_GATEWAYS,
        LIST_INSTANCES,
        LIST_CREDENTIALS,
        str(folder),
    )
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    generated = Path(home, ".sky", "generated").glob("*.yml.debug")
    answer["asked"] = {file.name.partition(".")[0]: file.read_text() for file in generated}
    return answer


def test_the_cheapest_spot_machine_is_launched_with_the_tag_of_its_lease(
    project: Project, results: dict[str, Any]
) -> None:
    run = results["interrupted"]
    rows = {row["name"]: row for row in run["rows"]}
    assert rows["credentials"]["status"] == "passed", run["output"]
    assert rows["credentials"]["metrics"]["usd_per_hour"] == 0.0452
    assert run["rented"] == [["r7a.large", "running"]], run["output"]
    ((tag, state),) = run["there"]
    assert state == "running"
    assert tag.startswith(f"{project.path.name}-")
    # The local AWS ignores spot; check SkyPilot's request instead.
    asked = yaml.safe_load(results["asked"][tag])
    node = asked["available_node_types"]["ray.head.default"]["node_config"]
    assert node["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert {"Key": "strata-lease", "Value": tag} in node["TagSpecifications"][0]["Tags"]


def test_no_credentials_are_copied_to_the_machine(results: dict[str, Any]) -> None:
    assert "~/.aws/credentials" in results["copied"]
    for text in results["asked"].values():
        assert "cp -rf ~/.sky/.runtime_files" in text
        assert "~/.aws" not in text


def test_an_interrupted_launch_leaves_no_machine_and_no_lease(results: dict[str, Any]) -> None:
    run = results["interrupted"]
    rows = {row["name"]: row["status"] for row in run["rows"]}
    assert rows == {
        "credentials": "passed",
        "launch": "failed",
        "health": "skipped",
        "request": "skipped",
        "termination": "passed",
    }, run["output"]
    assert run["code"] == 1, run["output"]
    assert (run["left"], run["leases"]) == ([], []), run["output"]


def test_the_machine_and_the_lease_of_a_killed_run_are_reaped(results: dict[str, Any]) -> None:
    run = results["killed"]
    # SkyPilot has ended with the run; the machine and its lease remain.
    assert run["code"] == -9, run["output"]
    assert run["leases"] == [tag for tag, _ in run["there"]] == [tag for tag, _ in run["left"]]
    code, output = results["reaped"]
    assert code == 0, output
    assert f"given back: {run['leases'][0]} (its run is dead)" in output
    assert (results["left"], results["leases"]) == ([], [])
    assert {state for _, state in results["seen"]} <= {"terminated"}


def test_an_unknown_instance_type_is_refused(results: dict[str, Any]) -> None:
    code, message = results["unknown"]
    assert (code, "aws has no r7a.lrge" in message) == (3, True), message


def test_without_a_catalog_the_price_comes_from_a_dated_list(results: dict[str, Any]) -> None:
    usd, source = results["offline"]
    assert usd == 0.15215
    assert re.match(r"list price on demand of \d{4}-\d\d-\d\d, since aws does not", source), source


def test_the_fake_skypilot_has_the_signatures_of_the_real_one(
    project: Project, tool: list[str]
) -> None:
    here = {"PYTHONPATH": str(Path(fake_skypilot.__file__).parent)}
    project.run(f"{tool[1]}/python", "-c", CHECK_THE_FAKE, env=here)


def test_googles_client_lists_and_deletes_machines_for_the_engine(project: Project) -> None:
    install = ("uv", "run", "--no-project", "--isolated", "--with", "google-api-python-client")
    here = {"PYTHONPATH": str(project.path / "vendor/stratakit/src/stratakit/cloud")}
    done = project.run(*install, "python", "-c", GOOGLE, env=here)
    machine, asked = json.loads(done.stdout)
    assert machine == {"tag": "tag", "name": "one", "state": "running", "where": "z"}
    every = "ours/aggregated/instances?filter=labels.strata-lease%3A%2A&alt=json"
    assert asked == [
        ["GET", every],
        ["GET", f"{every}&pageToken=more"],
        ["DELETE", "ours/zones/z/instances/one?alt=json"],
    ]
