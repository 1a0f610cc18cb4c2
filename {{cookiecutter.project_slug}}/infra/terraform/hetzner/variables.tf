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

variable "location" {
  description = "Hetzner location."
  type        = string
  default     = "fsn1"

  validation {
    condition     = contains(["fsn1", "nbg1", "hel1", "ash", "hil", "sin"], var.location)
    error_message = "location must be one of fsn1, nbg1, hel1, ash, hil, sin."
  }
}

variable "network_cidr" {
  description = "Private IPv4 network: /16 to /24."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.network_cidr)) && tonumber(split("/", var.network_cidr)[1]) >= 16 && tonumber(split("/", var.network_cidr)[1]) <= 24
    error_message = "network_cidr must be an IPv4 network from /16 to /24, such as \"10.40.0.0/16\"."
  }
}

variable "server_type" {
  description = "Type of the server; at most 8 vCPUs outside of production (policy cost)."
  type        = string
  default     = "cx23"

  validation {
    condition     = can(regex("^c(x|px|ax|cx)[0-9]{2}$", var.server_type))
    error_message = "server_type must be a Hetzner type, such as \"cx23\"."
  }
}

variable "image" {
  description = "Operating system of the server."
  type        = string
  default     = "debian-13"

  validation {
    condition     = can(regex("^(debian|ubuntu)-[0-9.]+$", var.image))
    error_message = "image must be a Debian or Ubuntu image, such as \"debian-13\"."
  }
}

variable "public_key" {
  description = "SSH public key of the operator, as ssh-keygen writes it."
  type        = string

  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256) [A-Za-z0-9+/=]+( .*)?$", var.public_key))
    error_message = "public_key must be an SSH public key, such as the content of ~/.ssh/id_ed25519.pub."
  }
}

variable "volume_gb" {
  description = "Size of the data volume in GB: 10 to 500."
  type        = number
  default     = 20

  validation {
    condition     = var.volume_gb >= 10 && var.volume_gb <= 500
    error_message = "volume_gb must be from 10 to 500."
  }
}
