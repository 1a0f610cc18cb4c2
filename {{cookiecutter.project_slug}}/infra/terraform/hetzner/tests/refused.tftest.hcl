# Values that each variable refuses.

mock_provider "hcloud" {}

variables {
  project    = "acme"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBzf operator"
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

run "a_location_of_another_cloud" {
  command         = plan
  expect_failures = [var.location]

  variables {
    location = "eu-central-1"
  }
}

run "a_network_that_is_too_small" {
  command         = plan
  expect_failures = [var.network_cidr]

  variables {
    network_cidr = "10.40.0.0/28"
  }
}

run "a_type_of_another_cloud" {
  command         = plan
  expect_failures = [var.server_type]

  variables {
    server_type = "m7i.large"
  }
}

run "an_unknown_system" {
  command         = plan
  expect_failures = [var.image]

  variables {
    image = "windows"
  }
}

run "a_private_key" {
  command         = plan
  expect_failures = [var.public_key]

  variables {
    public_key = "-----BEGIN OPENSSH PRIVATE KEY-----"
  }
}

run "a_volume_that_is_too_small" {
  command         = plan
  expect_failures = [var.volume_gb]

  variables {
    volume_gb = 4
  }
}
