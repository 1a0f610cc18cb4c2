"""Infrastructure: Terraform, policies, local clouds; each tool in an environment of its own."""
