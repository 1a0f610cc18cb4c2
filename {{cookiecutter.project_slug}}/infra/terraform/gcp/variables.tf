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
  description = "Google Cloud region."
  type        = string
  default     = "europe-west3"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[1-9][0-9]?$", var.region))
    error_message = "region must be a Google Cloud region, such as \"europe-west3\"."
  }
}

variable "subnet_cidr" {
  description = "IPv4 network of the subnet: /16 to /24."
  type        = string
  default     = "10.30.0.0/20"

  validation {
    condition     = can(cidrnetmask(var.subnet_cidr)) && tonumber(split("/", var.subnet_cidr)[1]) >= 16 && tonumber(split("/", var.subnet_cidr)[1]) <= 24
    error_message = "subnet_cidr must be an IPv4 network from /16 to /24, such as \"10.30.0.0/20\"."
  }
}

variable "image" {
  description = "Boot image of the machines: a family or an image, with its project."
  type        = string
  default     = "debian-cloud/debian-13"

  validation {
    condition     = can(regex("^[a-z0-9-]+/[a-z0-9-]+$", var.image))
    error_message = "image must be PROJECT/FAMILY, such as \"debian-cloud/debian-13\"."
  }
}

variable "machine_type" {
  description = "Type of the machines; at most 8 vCPUs outside of production (policy cost)."
  type        = string
  default     = "e2-standard-2"

  validation {
    condition     = can(regex("^[a-z][0-9][a-z]?-[a-z]+(-[0-9]+g?)?$", var.machine_type))
    error_message = "machine_type must be a Compute Engine type, such as \"e2-standard-2\"."
  }
}

variable "spot" {
  description = "Whether machines are spot VMs. On-demand is for production only."
  type        = bool
  default     = true

  validation {
    condition     = var.spot || var.environment == "production"
    error_message = "spot must be true outside of production."
  }
}

variable "min_machines" {
  description = "Machines that always run: 0 to 20. Zero costs nothing while there is no load."
  type        = number
  default     = 0

  validation {
    condition     = var.min_machines >= 0 && var.min_machines <= 20
    error_message = "min_machines must be from 0 to 20."
  }
}

variable "max_machines" {
  description = "Machines at peak load: 1 to 20, at least min_machines."
  type        = number
  default     = 3

  validation {
    condition     = var.max_machines >= 1 && var.max_machines <= 20
    error_message = "max_machines must be from 1 to 20."
  }
}

variable "disk_gb" {
  description = "Size of the boot disk in GB: 10 to 500."
  type        = number
  default     = 30

  validation {
    condition     = var.disk_gb >= 10 && var.disk_gb <= 500
    error_message = "disk_gb must be from 10 to 500."
  }
}
