variable "project" {
  description = "Name of the project, which every name begins with: kebab-case, at most 20 characters."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.project)) && length(var.project) <= 20
    error_message = "project must be kebab-case with at most 20 characters, such as \"acme\"."
  }
}

variable "environment" {
  description = "Environment that the resources belong to: dev, test, staging or production."
  type        = string

  validation {
    condition     = contains(["dev", "test", "staging", "production"], var.environment)
    error_message = "environment must be one of dev, test, staging, production."
  }
}

variable "component" {
  description = "Part of the system that the resources belong to: kebab-case, at most 16 characters."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.component)) && length(var.component) <= 16
    error_message = "component must be kebab-case with at most 16 characters, such as \"compute\"."
  }
}

variable "owner" {
  description = "Team that pays for the resources and answers for them: kebab-case, at most 30 characters."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.owner)) && length(var.owner) <= 30
    error_message = "owner must be kebab-case with at most 30 characters, such as \"platform\"."
  }
}

variable "suffix" {
  description = "Suffix of globally unique names, such as buckets: up to 8 lower-case letters and digits, or empty."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9]{0,8}$", var.suffix))
    error_message = "suffix must be at most 8 lower-case letters and digits, or empty."
  }
}

variable "labels" {
  description = "Labels in addition to the required ones, which they cannot replace. Keys and values must be valid in every cloud."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([
      for key, value in var.labels :
      can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "labels must have keys and values of lower-case letters, digits, _ and -, at most 63 characters each."
  }
}
