# The values of development: what `invoke infra.plan --cloud aws` plans, and what the policies judge.
environment = "dev"
owner       = "platform"
region      = "eu-central-1"

# Debian 13 in eu-central-1; look for the newest: aws ec2 describe-images --owners 136693071363
image_id = "ami-0123456789abcdef0"
