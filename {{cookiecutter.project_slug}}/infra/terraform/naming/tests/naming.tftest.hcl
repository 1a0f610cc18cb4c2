variables {
  project     = "acme"
  environment = "dev"
  component   = "compute"
  owner       = "platform"
}

run "names_begin_with_project_and_environment" {
  command = plan

  assert {
    condition     = output.prefix == "acme-dev" && output.name == "acme-dev-compute"
    error_message = "got ${output.prefix} and ${output.name}"
  }
}

run "every_required_label_is_set" {
  command = plan

  assert {
    condition     = output.labels == tomap({ project = "acme", environment = "dev", component = "compute", owner = "platform", managed_by = "terraform" })
    error_message = "got ${jsonencode(output.labels)}"
  }
}

run "required_labels_cannot_be_replaced" {
  command = plan

  variables {
    labels = { owner = "nobody", cost_center = "42" }
  }

  assert {
    condition     = output.labels.owner == "platform" && output.labels.cost_center == "42"
    error_message = "got ${jsonencode(output.labels)}"
  }
}

run "the_longest_bucket_name_fits_every_cloud" {
  command = plan

  variables {
    project     = "a2345678901234567890"
    environment = "production"
    component   = "a234567890123456"
    suffix      = "a2345678"
  }

  assert {
    condition     = length(output.bucket) <= 63
    error_message = "${output.bucket} has ${length(output.bucket)} characters"
  }
}

run "a_name_with_capitals_is_refused" {
  command         = plan
  expect_failures = [var.project]

  variables {
    project = "Acme"
  }
}

run "an_unknown_environment_is_refused" {
  command         = plan
  expect_failures = [var.environment]

  variables {
    environment = "prod"
  }
}

run "a_long_component_is_refused" {
  command         = plan
  expect_failures = [var.component]

  variables {
    component = "a2345678901234567"
  }
}

run "an_owner_with_a_blank_is_refused" {
  command         = plan
  expect_failures = [var.owner]

  variables {
    owner = "the team"
  }
}

run "a_suffix_with_a_dash_is_refused" {
  command         = plan
  expect_failures = [var.suffix]

  variables {
    suffix = "a-b"
  }
}

run "a_label_that_a_cloud_would_refuse_is_refused" {
  command         = plan
  expect_failures = [var.labels]

  variables {
    labels = { Team = "Platform" }
  }
}
