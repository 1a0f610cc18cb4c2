# Values for development, for `invoke infra.plan --cloud aws` and the policy checks.
environment = "dev"
owner       = "platform"
region      = "eu-central-1"

# Debian 13 in eu-central-1; to find the newest: aws ec2 describe-images --owners 136693071363
image_id = "ami-0123456789abcdef0"
