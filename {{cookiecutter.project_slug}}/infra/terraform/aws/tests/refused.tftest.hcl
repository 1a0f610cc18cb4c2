# Values that each variable refuses.

mock_provider "aws" {}

variables {
  project  = "acme"
  image_id = "ami-0123456789abcdef0"
}

run "a_project_with_capitals" {
  command         = plan
  expect_failures = [var.project]

  variables {
    project = "Acme"
  }
}

run "an_unknown_environment" {
  command         = plan
  expect_failures = [var.environment]

  variables {
    environment = "prod"
  }
}

run "an_owner_with_a_blank" {
  command         = plan
  expect_failures = [var.owner]

  variables {
    owner = "the team"
  }
}

run "ssh_from_the_world" {
  command         = plan
  expect_failures = [var.ssh_cidrs]

  variables {
    ssh_cidrs = ["0.0.0.0/0"]
  }
}

run "ssh_from_the_world_by_ipv6" {
  command         = plan
  expect_failures = [var.ssh_cidrs]

  variables {
    ssh_cidrs = ["::/0"]
  }
}

run "ssh_from_half_the_world" {
  command         = plan
  expect_failures = [var.ssh_cidrs]

  variables {
    ssh_cidrs = ["128.0.0.0/1"]
  }
}

run "a_suffix_with_a_dash" {
  command         = plan
  expect_failures = [var.bucket_suffix]

  variables {
    bucket_suffix = "a-b"
  }
}

run "checkpoints_for_ever" {
  command         = plan
  expect_failures = [var.checkpoint_days]

  variables {
    checkpoint_days = 0
  }
}

run "on_demand_in_development" {
  command         = plan
  expect_failures = [var.spot]

  variables {
    spot = false
  }
}

run "a_region_of_another_cloud" {
  command         = plan
  expect_failures = [var.region]

  variables {
    region = "europe-west3"
  }
}

run "a_vpc_that_is_too_small" {
  command         = plan
  expect_failures = [var.vpc_cidr]

  variables {
    vpc_cidr = "10.20.0.0/24"
  }
}

run "no_zone" {
  command         = plan
  expect_failures = [var.zones]

  variables {
    zones = []
  }
}

run "an_image_by_name" {
  command         = plan
  expect_failures = [var.image_id]

  variables {
    image_id = "debian-13"
  }
}

run "a_type_of_another_cloud" {
  command         = plan
  expect_failures = [var.instance_type]

  variables {
    instance_type = "e2-standard-2"
  }
}

run "a_disk_that_is_too_small" {
  command         = plan
  expect_failures = [var.disk_gb]

  variables {
    disk_gb = 4
  }
}

run "no_lifecycle_outside_of_tests" {
  command         = plan
  expect_failures = [var.lifecycle_rules]

  variables {
    lifecycle_rules = false
  }
}
