# The values of development: what `invoke infra.plan --cloud hetzner` plans, and what the policies judge.
environment = "dev"
owner       = "platform"
location    = "fsn1"

# Replace it by yours: ssh-keygen -y -f ~/.ssh/id_ed25519
public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBzf operator"
