# Names and labels of all resources. No provider: its tests run everywhere.

locals {
  prefix = "${var.project}-${var.environment}"
  name   = "${local.prefix}-${var.component}"

  required = {
    project     = var.project
    environment = var.environment
    component   = var.component
    owner       = var.owner
    managed_by  = "terraform"
  }
}
