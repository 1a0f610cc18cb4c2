# The base layer of a single node: network, firewall, server and data volume. The calling module
# configures the provider.

module "naming" {
  source = "../naming"

  project     = var.project
  environment = var.environment
  component   = "node"
  owner       = var.owner
}

locals {
  name   = module.naming.name
  labels = module.naming.labels
}

resource "hcloud_network" "this" {
  name     = local.name
  ip_range = var.network_cidr
  labels   = local.labels
}

resource "hcloud_network_subnet" "this" {
  network_id   = hcloud_network.this.id
  type         = "cloud"
  network_zone = { fsn1 = "eu-central", nbg1 = "eu-central", hel1 = "eu-central", ash = "us-east", hil = "us-west", sin = "ap-southeast" }[var.location]
  ip_range     = cidrsubnet(var.network_cidr, 2, 0)
}

resource "hcloud_firewall" "this" {
  name   = local.name
  labels = local.labels

  dynamic "rule" {
    for_each = length(var.ssh_cidrs) > 0 ? [var.ssh_cidrs] : []

    content {
      description = "SSH from an operator's network"
      direction   = "in"
      protocol    = "tcp"
      port        = "22"
      source_ips  = rule.value
    }
  }

  rule {
    description = "HTTPS from anywhere"
    direction   = "in"
    protocol    = "tcp"
    port        = "443"
    source_ips  = ["0.0.0.0/0", "::/0"]
  }
}

resource "hcloud_ssh_key" "operator" {
  name       = local.name
  public_key = var.public_key
  labels     = local.labels
}

resource "hcloud_server" "this" {
  name               = local.name
  server_type        = var.server_type
  image              = var.image
  location           = var.location
  ssh_keys           = [hcloud_ssh_key.operator.id]
  firewall_ids       = [hcloud_firewall.this.id]
  delete_protection  = module.naming.is_production
  rebuild_protection = module.naming.is_production
  labels             = local.labels

  network {
    network_id = hcloud_network.this.id
  }

  depends_on = [hcloud_network_subnet.this]
}

resource "hcloud_volume" "data" {
  name              = "${local.name}-data"
  size              = var.volume_gb
  server_id         = hcloud_server.this.id
  format            = "ext4"
  automount         = true
  delete_protection = module.naming.is_production
  labels            = local.labels
}
