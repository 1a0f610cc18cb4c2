output "network_id" {
  description = "Network that the machines run in."
  value       = google_compute_network.this.id
}

output "bucket" {
  description = "Name of the checkpoint bucket."
  value       = google_storage_bucket.checkpoints.name
}

output "service_account" {
  description = "Service account of the machines, which may use the bucket and nothing else."
  value       = google_service_account.machine.email
}

output "instance_template_id" {
  description = "Template of the machines."
  value       = google_compute_instance_template.machine.id
}
