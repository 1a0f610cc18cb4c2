output "ipv4_address" {
  description = "Public IPv4 address of the server."
  value       = hcloud_server.this.ipv4_address
}

output "network_id" {
  description = "Private network of the server."
  value       = hcloud_network.this.id
}

output "volume_device" {
  description = "Device of the data volume on the server."
  value       = hcloud_volume.data.linux_device
}
