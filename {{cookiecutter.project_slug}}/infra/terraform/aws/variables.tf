variable "project" {
  description = "Name of the project: see the module naming."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.project))
    error_message = "project must be kebab-case with at most 20 characters, such as \"acme\"."
  }
}

variable "environment" {
  description = "Environment: dev, test, staging or production."
  type        = string
  default     = "dev"

  validation {
    condition     = contains(["dev", "test", "staging", "production"], var.environment)
    error_message = "environment must be one of dev, test, staging, production."
  }
}

variable "owner" {
  description = "Team that pays for the resources and answers for them."
  type        = string
  default     = "platform"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,29}$", var.owner))
    error_message = "owner must be kebab-case with at most 30 characters, such as \"platform\"."
  }
}

variable "ssh_cidrs" {
  description = "IPv4 networks that may connect by SSH, at most 256 addresses each; none by default."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.ssh_cidrs : can(cidrnetmask(cidr)) && tonumber(split("/", cidr)[1]) >= 24])
    error_message = "ssh_cidrs must be IPv4 networks of at most 256 addresses (/24 or smaller), such as \"203.0.113.0/24\"."
  }
}

variable "bucket_suffix" {
  description = "Suffix that makes the bucket's name globally unique: up to 8 lower-case letters and digits."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9]{0,8}$", var.bucket_suffix))
    error_message = "bucket_suffix must be at most 8 lower-case letters and digits, or empty."
  }
}

variable "checkpoint_days" {
  description = "Days that checkpoints are kept: 1 to 365."
  type        = number
  default     = 30

  validation {
    condition     = var.checkpoint_days >= 1 && var.checkpoint_days <= 365 && floor(var.checkpoint_days) == var.checkpoint_days
    error_message = "checkpoint_days must be a whole number from 1 to 365."
  }
}

variable "region" {
  description = "AWS region; must match the provider's configuration."
  type        = string
  default     = "eu-central-1"

  validation {
    condition     = can(regex("^(us|eu|ap|ca|sa|me|af|il|mx)-[a-z]+-[1-9]$", var.region))
    error_message = "region must be an AWS region, such as \"eu-central-1\"."
  }
}

variable "vpc_cidr" {
  description = "IPv4 network of the VPC: /16 to /20."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20
    error_message = "vpc_cidr must be an IPv4 network from /16 to /20, such as \"10.20.0.0/16\"."
  }
}

variable "zones" {
  description = "Availability zones, by letter, with one subnet each: 1 to 3."
  type        = list(string)
  default     = ["a", "b"]

  validation {
    condition     = length(var.zones) >= 1 && length(var.zones) <= 3 && alltrue([for zone in var.zones : can(regex("^[a-f]$", zone))])
    error_message = "zones must be one to three letters from a to f, such as [\"a\", \"b\"]."
  }
}

variable "image_id" {
  description = "AMI of the machines, for the region and the architecture of instance_type."
  type        = string

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.image_id))
    error_message = "image_id must be an AMI, such as \"ami-0123456789abcdef0\"."
  }
}

variable "instance_type" {
  description = "Type of the machines; at most xlarge outside of production (policy cost)."
  type        = string
  default     = "m7i.large"

  validation {
    condition     = can(regex("^[a-z][0-9][a-z0-9]*\\.[0-9a-z]+$", var.instance_type))
    error_message = "instance_type must be an EC2 type, such as \"m7i.large\"."
  }
}

variable "spot" {
  description = "Whether machines are spot instances. On-demand is for production, and for tests on a local AWS."
  type        = bool
  default     = true

  validation {
    condition     = var.spot || contains(["test", "production"], var.environment)
    error_message = "spot must be true outside of production."
  }
}

variable "disk_gb" {
  description = "Size of the encrypted root disk in GB: 8 to 500."
  type        = number
  default     = 30

  validation {
    condition     = var.disk_gb >= 8 && var.disk_gb <= 500
    error_message = "disk_gb must be from 8 to 500."
  }
}

variable "lifecycle_rules" {
  description = "Whether checkpoints expire. Only tests on a local AWS turn it off."
  type        = bool
  default     = true

  validation {
    condition     = var.lifecycle_rules || var.environment == "test"
    error_message = "lifecycle_rules may be false only in the environment test."
  }
}
