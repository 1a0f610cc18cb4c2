"""The module aws on a local AWS: applied, read back, planned again without changes, destroyed.

Without lifecycle rules, at which the provider looks for a minute before it calls them stable; and
without spot, since MiniStack keeps no market options of a launch template: plans would add them.
"""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ProxyConnectionError

from stratakit.infra import clouds, terraform

REGION, OPERATORS = "eu-central-1", "203.0.113.0/24"
VALUES = (
    *("-var-file=dev.tfvars", f"-var=region={REGION}", "-var=environment=test"),
    *("-var=spot=false", "-var=lifecycle_rules=false"),
    f'-var=ssh_cidrs=["{OPERATORS}"]',
)


@pytest.fixture(scope="module")
def aws() -> Iterator[terraform.Workspace]:
    """The modules, with a local AWS beside them, which alone they and boto3 can reach."""
    with terraform.workspace() as work:
        work.configure("aws", aws=clouds.AWS_PROVIDER)
        work.init("aws")
        with clouds.running("aws"):
            yield work


def client(service: Any) -> Any:
    """Return a client of the local AWS."""
    return boto3.client(service, region_name=REGION)


def test_the_aws_module_is_applied_read_back_and_destroyed(aws: terraform.Workspace) -> None:
    aws.require("aws", "apply", "-auto-approve", *VALUES)
    try:
        said = json.loads(aws.require("aws", "output", "-json"))
        outputs = {name: each["value"] for name, each in said.items()}
        read_back(outputs)
        assert "No changes" in aws.require("aws", "plan", *VALUES)
    finally:
        aws.require("aws", "destroy", "-auto-approve", "-refresh=false", *VALUES)
    left = {
        *(each["Name"] for each in client("s3").list_buckets()["Buckets"]),
        *(each["Arn"] for each in client("iam").list_roles()["Roles"]),
        *(each["VpcId"] for each in client("ec2").describe_vpcs()["Vpcs"]),
        *(
            each["LaunchTemplateId"]
            for each in client("ec2").describe_launch_templates()["LaunchTemplates"]
        ),
    }
    assert not left & {*map(str, outputs.values())}


def test_no_real_aws_account_can_be_reached(aws: terraform.Workspace) -> None:
    elsewhere = boto3.client("sts", region_name=REGION, endpoint_url="https://sts.amazonaws.com")
    with pytest.raises(ProxyConnectionError):
        elsewhere.get_caller_identity()


def read_back(outputs: dict[str, Any]) -> None:
    """Compare what the module has made with what it says that it has made."""
    ec2, s3, bucket = client("ec2"), client("s3"), {"Bucket": outputs["bucket"]}
    (vpc,) = ec2.describe_vpcs(VpcIds=[outputs["vpc_id"]])["Vpcs"]
    tags = {each["Key"] for each in vpc["Tags"]}
    assert {"project", "environment", "component", "owner", "managed_by"} <= tags
    subnets = ec2.describe_subnets(SubnetIds=outputs["subnet_ids"])["Subnets"]
    assert len({each["AvailabilityZone"] for each in subnets}) == len(outputs["subnet_ids"])
    groups = {"GroupIds": [outputs["security_group_id"]]}
    (group,) = ec2.describe_security_groups(**groups)["SecurityGroups"]
    (ssh,) = group["IpPermissions"]
    assert (ssh["FromPort"], ssh["ToPort"]) == (22, 22)
    assert [each["CidrIp"] for each in ssh["IpRanges"]] == [OPERATORS]
    for rule in group["IpPermissionsEgress"]:
        # MiniStack gives each group the rule of AWS that lets all out, and does not understand the
        # request by which the provider takes it away: it has ports, which AWS passes over.
        if rule["IpProtocol"] == "-1":
            ec2.revoke_security_group_egress(GroupId=group["GroupId"], IpPermissions=[rule])
    assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    blocked = s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
    assert all(blocked.values())
    assert s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert ":role/" in outputs["role_arn"]
    template = {"LaunchTemplateId": outputs["launch_template_id"]}
    (version,) = ec2.describe_launch_template_versions(**template)["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"]["InstanceType"] == "m7i.large"
