output "vpc_id" {
  description = "VPC that the machines run in."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Subnets, one per zone."
  value       = aws_subnet.this[*].id
}

output "security_group_id" {
  description = "Security group of the machines."
  value       = aws_security_group.machines.id
}

output "bucket" {
  description = "Name of the checkpoint bucket."
  value       = aws_s3_bucket.checkpoints.bucket
}

output "role_arn" {
  description = "Role of the machines, which may use the bucket and nothing else."
  value       = aws_iam_role.machine.arn
}

output "launch_template_id" {
  description = "Launch template of the machines."
  value       = aws_launch_template.machine.id
}
