"""The module aws on a local AWS: applied, read back, planned again without changes, destroyed."""

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]  # Its clients are made at run time.
import pytest

from stratakit.infra import clouds
from stratakit.infra.terraform import Workspace

VALUES = ("-var-file=dev.tfvars", "-var=environment=test", "-var=lifecycle_rules=false")


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """The endpoint of a local AWS."""
    with clouds.running("aws") as endpoint:
        yield endpoint


def provider(endpoint: str) -> dict[str, object]:
    """Return the configuration of a provider that can reach this machine alone."""
    services = ("ec2", "iam", "s3", "sts", "kms")
    return {
        "access_key": "test",
        "secret_key": "test",
        "region": "${var.region}",
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_requesting_account_id": True,
        "s3_use_path_style": True,
        "endpoints": [dict.fromkeys(services, endpoint)],
    }


def apply(work: Workspace, *words: str) -> str:
    """Run terraform in the module, which has to succeed; return what it printed."""
    done = work.run("aws", *words, limit=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_module_is_applied_read_back_and_destroyed(aws: str, workspace: Workspace) -> None:
    workspace.configure("aws", aws=provider(aws))
    workspace.init("aws")
    apply(workspace, "apply", "-auto-approve", "-no-color", *VALUES)
    try:
        outputs = json.loads(apply(workspace, "output", "-json"))
        found = {name: each["value"] for name, each in outputs.items()}
        read_back(aws, found)
        again = apply(workspace, "plan", "-no-color", *VALUES)
        assert "No changes" in again
    finally:
        apply(workspace, "destroy", "-auto-approve", "-no-color", *VALUES)
    session = client(aws)
    assert session("s3").list_buckets()["Buckets"] == []
    assert [each for each in session("ec2").describe_vpcs()["Vpcs"] if not each["IsDefault"]] == []
    assert session("ec2").describe_launch_templates()["LaunchTemplates"] == []
    assert session("iam").list_roles()["Roles"] == []


def client(endpoint: str) -> Any:
    """Return what makes clients of a local AWS."""
    session = boto3.Session("test", "test", region_name="eu-central-1")
    return lambda name: session.client(name, endpoint_url=endpoint)


def read_back(endpoint: str, outputs: dict[str, Any]) -> None:
    """Compare what the module has made with what it says that it has made."""
    of = client(endpoint)
    (vpc,) = of("ec2").describe_vpcs(VpcIds=[outputs["vpc_id"]])["Vpcs"]
    tags = {each["Key"]: each["Value"] for each in vpc["Tags"]}
    assert {"project", "environment", "component", "owner", "managed_by"} <= tags.keys()
    subnets = of("ec2").describe_subnets(SubnetIds=outputs["subnet_ids"])["Subnets"]
    assert len({each["AvailabilityZone"] for each in subnets}) == len(outputs["subnet_ids"])
    (group,) = of("ec2").describe_security_groups(GroupIds=[outputs["security_group_id"]])[
        "SecurityGroups"
    ]
    assert group["IpPermissions"] == []
    bucket = {"Bucket": outputs["bucket"]}
    assert of("s3").get_bucket_versioning(**bucket)["Status"] == "Enabled"
    blocked = of("s3").get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
    assert all(blocked.values())
    assert of("s3").get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert re.search(r":role/[\w-]+$", outputs["role_arn"])
    (version,) = of("ec2").describe_launch_template_versions(
        LaunchTemplateId=outputs["launch_template_id"]
    )["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"]["InstanceType"] == "m7i.large"
