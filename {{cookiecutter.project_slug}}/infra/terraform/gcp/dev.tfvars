# The values of development: what `invoke infra.plan --cloud gcp` plans, and what the policies judge.
environment = "dev"
owner       = "platform"
region      = "europe-west3"
