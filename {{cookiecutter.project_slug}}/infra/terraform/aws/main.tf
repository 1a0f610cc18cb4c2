# Network, checkpoint bucket and spot machines. The calling module configures the provider.

module "naming" {
  source = "../naming"

  project     = var.project
  environment = var.environment
  component   = "compute"
  owner       = var.owner
  suffix      = var.bucket_suffix
}

locals {
  name = module.naming.name
  tags = module.naming.labels
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11: its machines live for hours; flow logs would cost more than they do
  cidr_block           = var.vpc_cidr
  enable_dns_hostnames = true
  tags                 = merge(local.tags, { Name = local.name })
}

resource "aws_subnet" "this" {
  count = length(var.zones)

  vpc_id            = aws_vpc.this.id
  availability_zone = "${var.region}${var.zones[count.index]}"
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, count.index)
  tags              = merge(local.tags, { Name = "${local.name}-${var.zones[count.index]}" })
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = merge(local.tags, { Name = local.name })
}

resource "aws_route_table" "this" {
  vpc_id = aws_vpc.this.id
  tags   = merge(local.tags, { Name = local.name })

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }
}

resource "aws_route_table_association" "this" {
  count = length(var.zones)

  subnet_id      = aws_subnet.this[count.index].id
  route_table_id = aws_route_table.this.id
}

# The default security group of a VPC lets its members talk to each other; without rules it allows nothing.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
  tags   = local.tags
}

resource "aws_security_group" "machines" {
  name        = local.name
  description = "Machines of ${local.name}"
  vpc_id      = aws_vpc.this.id
  tags        = local.tags

  dynamic "ingress" {
    for_each = var.ssh_cidrs

    content {
      description = "SSH from the network of an operator"
      protocol    = "tcp"
      from_port   = 22
      to_port     = 22
      cidr_blocks = [ingress.value]
    }
  }

  egress {
    description = "Package indexes, registries and the bucket"
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = ["0.0.0.0/0"]
  }
}
