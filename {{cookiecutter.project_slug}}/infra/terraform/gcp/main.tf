# Network, checkpoint bucket and autoscaled spot machines. The calling module configures the provider.

module "naming" {
  source = "../naming"

  project     = var.project
  environment = var.environment
  component   = "compute"
  owner       = var.owner
  suffix      = var.bucket_suffix
}

locals {
  name   = module.naming.name
  labels = module.naming.labels
}

resource "google_compute_network" "this" {
  name                    = local.name
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "this" {
  name                     = local.name
  region                   = var.region
  network                  = google_compute_network.this.id
  ip_cidr_range            = var.subnet_cidr
  private_ip_google_access = true

  log_config {
    flow_sampling = 0.1
  }
}

resource "google_compute_firewall" "ssh" {
  count = length(var.ssh_cidrs) > 0 ? 1 : 0

  name          = "${local.name}-ssh"
  network       = google_compute_network.this.id
  direction     = "INGRESS"
  source_ranges = var.ssh_cidrs
  target_tags   = [local.name]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}

resource "google_storage_bucket" "checkpoints" {
  #checkov:skip=CKV_GCP_62: only machines with one service account read and write it
  name                        = module.naming.bucket
  location                    = upper(var.region)
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = local.labels

  versioning {
    enabled = true
  }

  lifecycle_rule {
    condition {
      age = var.checkpoint_days
    }

    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 7
    }

    action {
      type = "Delete"
    }
  }
}
