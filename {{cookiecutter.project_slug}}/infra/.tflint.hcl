# TFLint, for the check `tflint` of `nox -s static`: every rule of the preset, and the clouds' rulesets.

config {
  call_module_type = "local"
}

plugin "terraform" {
  enabled = true
  preset  = "all"
}
{%- if cookiecutter.clouds in ("all", "aws") %}

plugin "aws" {
  enabled = true
  version = "0.48.0"
  source  = "github.com/terraform-linters/tflint-ruleset-aws"
}
{%- endif %}
{%- if cookiecutter.clouds in ("all", "gcp") %}

plugin "google" {
  enabled = true
  version = "0.39.0"
  source  = "github.com/terraform-linters/tflint-ruleset-google"
}
{%- endif %}
