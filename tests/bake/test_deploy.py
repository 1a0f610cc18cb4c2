"""Deployment templates: valid, free of secrets, with clear errors."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from baking import BLANK, INFERENCE, Bake, Bakery, clean_environment, run
from installed import Environment
from kubernetes_validate.utils import validate

pytestmark = pytest.mark.slow

IMAGE = "registry.example.org:5000/acme/name:1.2.3"
VERSIONS = ("1.30", "1.34")
SERVICES = {
    "blank": {**BLANK, "service": "customer-billing-api"},
    "inference": INFERENCE,
}
SKYPILOT = ("uv", "run", "--no-project", "--quiet", "--with", "skypilot>=0.14,<0.15", "python")
# SkyPilot's catalog of machines, regions and prices: planning needs nothing else of a cloud.
CATALOG = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch
m6i.large,,,2.0,8.0,,0.096,0.0411,us-east-1,use1-az1,x86_64
m6i.large,,,2.0,8.0,,0.096,0.0352,us-east-2,use2-az1,x86_64
"""
PLAN = """
import sys
import sky
from sky import check, clouds, optimizer
check.get_cached_enabled_clouds_or_refresh = lambda *_, **__: [clouds.AWS()]
for file in sys.argv[1:]:
    task = sky.Task.from_yaml(file)
    with sky.Dag() as dag:
        dag.add(task)
    optimizer.Optimizer.optimize(dag, quiet=True)
    print("planned", task.name, task.best_resources.use_spot, task.best_resources.get_cost(3600))
"""


@pytest.fixture(params=SERVICES)
def baked(request: pytest.FixtureRequest, bake: Bakery) -> Bake:
    return bake(SERVICES[request.param])


def render(environment: Environment, baked: Bake, *words: str, code: int = 0) -> str:
    """Return the manifests or task files printed for the service."""
    task = ("-m", "invoke", "deploy.render", baked.service)
    return environment.run(baked, *task, *words, code=code)


def test_the_kubernetes_manifests_are_valid_and_consistent(
    baked: Bake, environment: Environment
) -> None:
    text = render(environment, baked, "--image", IMAGE)
    there = {each["kind"]: each for each in yaml.safe_load_all(text)}
    for version in VERSIONS:
        for each in there.values():
            validate(each, version, strict=True)
    job, service, deployment, autoscaler, budget = there.values()
    assert [*there] == [
        *("Job", "Service", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")
    ]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == budget["spec"]["selector"]["matchLabels"] == labels
    # With the same labels, the job would receive the service's requests.
    assert job["spec"]["template"]["metadata"]["labels"] != labels
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    paths = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("liveness", "readiness")]
    assert paths == ["/health/live", "/health/ready"]
    # The pod must not be killed while it finishes its requests.
    kit = baked.path / "libs" / "servicebase" / "src" / "servicebase" / "settings.py"
    grace = re.search(r"shutdown_grace: .*default=(\d+)", kit.read_text(encoding="utf-8"))
    (_, pause) = container["lifecycle"]["preStop"]["exec"]["command"]
    limit = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace
    assert int(pause) + int(grace[1]) < limit
    for each in (deployment, job):
        guarded(each["spec"]["template"]["spec"])


def guarded(pod: Any) -> None:
    """Check the privileges of a pod, and that it gets secrets only by reference."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container["resources"]["limits"]["memory"]
    given = container.get("env", []) + container.get("envFrom", [])
    assert given
    assert all("value" not in each for each in given)


def test_each_release_has_its_own_migration_job(bake: Bakery, environment: Environment) -> None:
    only = ("--only", "migrate")
    texts = [
        render(environment, bake(), "--image", f"acme:{tag}", *only) for tag in ("1", "1", "2")
    ]
    first, again, second = (yaml.safe_load(text)["metadata"]["name"] for text in texts)
    assert first == again != second


def test_a_skypilot_task_names_each_secret_without_its_value(
    baked: Bake, environment: Environment
) -> None:
    to = ("--image", IMAGE, "--to", "sky", "--only", "service")
    task = yaml.safe_load(render(environment, baked, *to))
    secrets = set(task["secrets"])
    assert set(task["secrets"].values()) == {None}
    wanted = {"DATABASE_URL", "REDIS_URL"}
    wanted |= {"ADMIN_TOKEN", "SECRET"} if baked.answers == INFERENCE else set()
    assert secrets == {f"{baked.service.replace('-', '_').upper()}_{each}" for each in wanted}
    assert set(re.findall(r"--env (\S+)", task["run"])) == secrets
    assert task["run"].endswith(IMAGE)
    policy = task["service"]["replica_policy"]
    assert policy["target_qps_per_replica"]
    assert policy["dynamic_ondemand_fallback"] is task["resources"]["use_spot"] is True


@pytest.mark.proof(of="infrastructure")
def test_skypilot_plans_the_rendered_tasks(
    bake: Bakery, environment: Environment, tmp_path: Path
) -> None:
    files = []
    for name in ("migrate", "service"):
        text = render(environment, bake(INFERENCE), "--image", IMAGE, "--to", "sky", "--only", name)
        # `--secret NAME` fills in secrets the same way.
        filled = re.sub(r'(_\w+": )null', r'\1"x"', text)
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(filled, encoding="utf-8")
    catalog = tmp_path / ".sky" / "catalogs" / "v8" / "aws" / "vms.csv"
    catalog.parent.mkdir(parents=True)
    catalog.write_text(CATALOG, encoding="utf-8")
    # Usage data would go to the home of the user who runs the tests.
    env = clean_environment(HOME=str(tmp_path), SKYPILOT_DISABLE_USAGE_COLLECTION="1")
    done = run(*SKYPILOT, "-c", PLAN, *map(str, files), cwd=tmp_path, env=env)
    planned = [line.split()[1:] for line in done.stdout.splitlines() if "planned" in line]
    assert planned == [["gateway-migrate", "False", "0.096"], ["gateway", "True", "0.0352"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--image", "a b"), "'a b' is not an image"),
        (("--image", "a:1;reboot"), "is not an image"),
        (("--image", "a:1", "--to", "helm"), "Input should be 'kubernetes' or 'sky'"),
        (("--image", "a:1", "--only", "servce"), "did you mean service?"),
    ],
)
def test_invalid_options_of_deploy_render_are_refused(
    words: tuple[str, ...], says: str, bake: Bakery, environment: Environment
) -> None:
    assert says in render(environment, bake(), *words, code=3)


def test_an_unescaped_dollar_sign_in_a_template_is_an_error_that_names_the_file(
    bake: Bakery, environment: Environment, tmp_path: Path
) -> None:
    baked = bake.into(tmp_path)
    template = baked.path / "infra" / "sky" / "migrate.yaml"
    text = template.read_text(encoding="utf-8")
    words = ("--image", "a:1", "--to", "sky")
    for sign in ("$HOME", "costs 3 $"):
        template.write_text(f"{text}# {sign}\n", encoding="utf-8")
        said = render(environment, baked, *words, code=3)
        assert "infra/sky/migrate.yaml has an invalid placeholder" in said
    template.write_text(f"{text}# $$HOME\n", encoding="utf-8")
    assert "# $HOME" in render(environment, baked, *words)


def test_deploy_render_reports_missing_templates_in_a_bake_without_a_cloud(
    bake: Bakery, environment: Environment
) -> None:
    for to in ("kubernetes", "sky"):
        words = ("--image", "a:1", "--to", to)
        said = render(environment, bake(clouds="none"), *words, code=3)
        assert f"there is no infra/{to} in this project" in said
