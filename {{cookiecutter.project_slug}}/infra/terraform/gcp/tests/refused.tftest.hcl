# Values that each variable refuses.

mock_provider "google" {}

variables {
  project = "acme"
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
    region = "eu-central-1"
  }
}

run "a_subnet_that_is_too_small" {
  command         = plan
  expect_failures = [var.subnet_cidr]

  variables {
    subnet_cidr = "10.30.0.0/28"
  }
}

run "an_image_without_project" {
  command         = plan
  expect_failures = [var.image]

  variables {
    image = "debian-13"
  }
}

run "a_type_of_another_cloud" {
  command         = plan
  expect_failures = [var.machine_type]

  variables {
    machine_type = "m7i.large"
  }
}

run "too_many_idle_machines" {
  command         = plan
  expect_failures = [var.min_machines]

  variables {
    min_machines = 21
  }
}

run "no_machine_at_all" {
  command         = plan
  expect_failures = [var.max_machines]

  variables {
    max_machines = 0
  }
}

run "a_disk_that_is_too_small" {
  command         = plan
  expect_failures = [var.disk_gb]

  variables {
    disk_gb = 4
  }
}
