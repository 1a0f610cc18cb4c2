output "prefix" {
  description = "Prefix of every name: project and environment."
  value       = local.prefix
}

output "name" {
  description = "Name of the component: prefix and component."
  value       = local.name
}

output "bucket" {
  description = "Name of the checkpoint bucket: at most 63 characters, as object stores require."
  value       = join("-", compact([local.prefix, "checkpoints", var.suffix]))
}

output "labels" {
  description = "Labels of every resource; the required ones override the given ones."
  value       = tomap(merge(var.labels, local.required))
}

output "is_production" {
  description = "Whether this is the production environment, where on-demand machines are allowed."
  value       = var.environment == "production"
}
