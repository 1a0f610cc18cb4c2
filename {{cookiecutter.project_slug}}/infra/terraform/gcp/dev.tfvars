# Values for development, for `invoke infra.plan --cloud gcp` and the policy checks.
environment = "dev"
owner       = "platform"
region      = "europe-west3"
