# Plan-only tests with a mock provider: its schema is real, but no credentials or network are needed.

mock_provider "google" {}

variables {
  project       = "acme"
  owner         = "platform"
  bucket_suffix = "x1"
}

run "machines_are_spot_by_default" {
  command = plan

  assert {
    condition     = google_compute_instance_template.machine.scheduling[0].preemptible && google_compute_instance_template.machine.scheduling[0].provisioning_model == "SPOT"
    error_message = "machines are on demand"
  }

  assert {
    condition     = !google_compute_instance_template.machine.scheduling[0].automatic_restart
    error_message = "a spot VM cannot have automatic restart"
  }
}

run "production_may_be_on_demand" {
  command = plan

  variables {
    environment = "production"
    spot        = false
  }

  assert {
    condition     = google_compute_instance_template.machine.scheduling[0].provisioning_model == "STANDARD"
    error_message = "machines are still spot"
  }
}

run "the_autoscaler_goes_down_to_nothing" {
  command = plan

  assert {
    condition     = google_compute_region_autoscaler.machines.autoscaling_policy[0].min_replicas == 0 && google_compute_region_autoscaler.machines.autoscaling_policy[0].max_replicas == 3
    error_message = "idle machines cost money"
  }
}

run "the_bucket_is_private_and_versioned" {
  command = plan

  assert {
    condition     = google_storage_bucket.checkpoints.public_access_prevention == "enforced" && google_storage_bucket.checkpoints.uniform_bucket_level_access
    error_message = "the bucket can be made public"
  }

  assert {
    condition     = google_storage_bucket.checkpoints.versioning[0].enabled
    error_message = "versioning is off"
  }
}

run "checkpoints_expire" {
  command = plan

  variables {
    checkpoint_days = 14
  }

  assert {
    condition     = anytrue([for rule in google_storage_bucket.checkpoints.lifecycle_rule : one(rule.condition).age == 14])
    error_message = "checkpoints are kept for ever"
  }
}

run "names_and_labels_are_everywhere" {
  command = plan

  assert {
    condition     = google_storage_bucket.checkpoints.name == "acme-dev-checkpoints-x1"
    error_message = "got ${google_storage_bucket.checkpoints.name}"
  }

  assert {
    condition     = google_compute_instance_template.machine.labels.owner == "platform" && google_storage_bucket.checkpoints.labels.managed_by == "terraform"
    error_message = "a required label is missing"
  }
}
