# Plan-only tests with a mock provider: its schema is real, but no credentials or network are needed.

mock_provider "hcloud" {}

variables {
  project    = "acme"
  owner      = "platform"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBzf operator"
}

run "nobody_connects_by_ssh_by_default" {
  command = plan

  assert {
    condition     = alltrue([for rule in hcloud_firewall.this.rule : rule.port != "22"])
    error_message = "the firewall lets SSH through"
  }
}

run "operators_connect_from_their_network" {
  command = plan

  variables {
    ssh_cidrs = ["203.0.113.0/24"]
  }

  assert {
    condition     = anytrue([for rule in hcloud_firewall.this.rule : rule.port == "22" && rule.source_ips == toset(["203.0.113.0/24"])])
    error_message = "the firewall keeps operators out"
  }
}

run "production_is_protected_from_deletion" {
  command = plan

  variables {
    environment = "production"
  }

  assert {
    condition     = hcloud_server.this.delete_protection && hcloud_volume.data.delete_protection
    error_message = "one wrong plan deletes the data"
  }
}

run "names_and_labels_are_everywhere" {
  command = plan

  assert {
    condition     = hcloud_server.this.name == "acme-dev-node" && hcloud_server.this.labels.owner == "platform"
    error_message = "got ${hcloud_server.this.name}"
  }
}
