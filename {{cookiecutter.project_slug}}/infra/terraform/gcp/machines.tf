# The machines' template, group and autoscaler.

resource "google_service_account" "machine" {
  account_id   = local.name
  display_name = "Machines of ${local.name}"
}

resource "google_storage_bucket_iam_member" "machine" {
  bucket = google_storage_bucket.checkpoints.name
  role   = "roles/storage.objectUser"
  member = "serviceAccount:${google_service_account.machine.email}"
}

resource "google_compute_instance_template" "machine" {
  name_prefix  = "${local.name}-"
  region       = var.region
  machine_type = var.machine_type
  labels       = local.labels
  tags         = [local.name]

  disk {
    source_image = var.image
    disk_size_gb = var.disk_gb
    disk_type    = "pd-balanced"
    boot         = true
    auto_delete  = true
    labels       = local.labels
  }

  network_interface {
    subnetwork = google_compute_subnetwork.this.id
  }

  scheduling {
    preemptible                 = var.spot
    provisioning_model          = var.spot ? "SPOT" : "STANDARD"
    automatic_restart           = !var.spot
    on_host_maintenance         = var.spot ? "TERMINATE" : "MIGRATE"
    instance_termination_action = var.spot ? "DELETE" : null
  }

  service_account {
    email  = google_service_account.machine.email
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
  }

  shielded_instance_config {
    enable_secure_boot = true
  }

  metadata = {
    block-project-ssh-keys = "true"
    enable-oslogin         = "true"
  }

  # Templates are immutable: create the new one before the group releases the old one.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_region_instance_group_manager" "machines" {
  name               = local.name
  region             = var.region
  base_instance_name = local.name

  version {
    instance_template = google_compute_instance_template.machine.id
  }
}

resource "google_compute_region_autoscaler" "machines" {
  name   = local.name
  region = var.region
  target = google_compute_region_instance_group_manager.machines.id

  autoscaling_policy {
    min_replicas    = var.min_machines
    max_replicas    = max(var.min_machines, var.max_machines)
    cooldown_period = 60

    cpu_utilization {
      target = 0.7
    }
  }
}
