# Plan-only tests with a mock provider: its schema is real, but no credentials or network are needed.

mock_provider "aws" {}

variables {
  project       = "acme"
  owner         = "platform"
  image_id      = "ami-0123456789abcdef0"
  bucket_suffix = "x1"
}

run "machines_are_spot_by_default" {
  command = plan

  assert {
    condition     = aws_launch_template.machine.instance_market_options[0].market_type == "spot"
    error_message = "the launch template asks for on-demand machines"
  }

  assert {
    condition     = aws_launch_template.machine.metadata_options[0].http_tokens == "required"
    error_message = "machines answer metadata requests without a token"
  }

  assert {
    condition     = aws_launch_template.machine.block_device_mappings[0].ebs[0].encrypted == "true"
    error_message = "disks are not encrypted"
  }
}

run "production_may_be_on_demand" {
  command = plan

  variables {
    environment = "production"
    spot        = false
  }

  assert {
    condition     = length(aws_launch_template.machine.instance_market_options) == 0
    error_message = "the launch template still asks for spot machines"
  }
}

run "names_and_labels_are_everywhere" {
  command = plan

  assert {
    condition     = aws_s3_bucket.checkpoints.bucket == "acme-dev-checkpoints-x1"
    error_message = "got ${aws_s3_bucket.checkpoints.bucket}"
  }

  assert {
    condition = alltrue([
      for tags in [
        aws_vpc.this.tags, aws_subnet.this[0].tags, aws_security_group.machines.tags, aws_s3_bucket.checkpoints.tags,
        aws_iam_role.machine.tags, aws_launch_template.machine.tags, aws_launch_template.machine.tag_specifications[0].tags,
      ] : alltrue([for key in ["project", "environment", "component", "owner", "managed_by"] : contains(keys(tags), key)])
    ])
    error_message = "a required label is missing"
  }
}

run "the_bucket_is_private_encrypted_and_versioned" {
  command = plan

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.checkpoints.block_public_acls,
      aws_s3_bucket_public_access_block.checkpoints.block_public_policy,
      aws_s3_bucket_public_access_block.checkpoints.ignore_public_acls,
      aws_s3_bucket_public_access_block.checkpoints.restrict_public_buckets,
    ])
    error_message = "public access is not blocked"
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.checkpoints.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms"
    error_message = "the bucket is not encrypted with a KMS key"
  }

  assert {
    condition     = aws_s3_bucket_versioning.checkpoints.versioning_configuration[0].status == "Enabled"
    error_message = "versioning is off"
  }
}

run "checkpoints_expire" {
  command = plan

  variables {
    checkpoint_days = 14
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.checkpoints[0].rule[0].expiration[0].days == 14
    error_message = "checkpoints are kept for ever"
  }
}

run "a_machine_may_use_its_bucket_and_nothing_else" {
  command = plan

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.machine.policy).Statement :
      startswith(statement.Resource, "arn:aws:s3:::acme-dev-checkpoints-x1") && alltrue([for action in statement.Action : startswith(action, "s3:") && action != "s3:*"])
    ])
    error_message = "the role may do more than use its bucket"
  }
}

run "operators_may_connect_by_ssh" {
  command = plan

  variables {
    ssh_cidrs = ["203.0.113.0/24"]
  }

  assert {
    condition     = one(aws_security_group.machines.ingress).cidr_blocks == tolist(["203.0.113.0/24"])
    error_message = "got ${jsonencode(aws_security_group.machines.ingress)}"
  }
}

run "subnets_do_not_overlap" {
  command = plan

  variables {
    zones = ["a", "b", "c"]
  }

  assert {
    condition     = length(distinct(aws_subnet.this[*].cidr_block)) == 3
    error_message = "got ${jsonencode(aws_subnet.this[*].cidr_block)}"
  }
}
