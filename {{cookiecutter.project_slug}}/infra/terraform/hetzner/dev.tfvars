# Values for development, for `invoke infra.plan --cloud hetzner` and the policy checks.
environment = "dev"
owner       = "platform"
location    = "fsn1"

# Replace with your own key: ssh-keygen -y -f ~/.ssh/id_ed25519
public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBzf operator"
