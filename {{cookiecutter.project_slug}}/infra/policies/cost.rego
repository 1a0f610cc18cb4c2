# What may not cost so much. Its fixtures are in fixtures/cost.yaml.

package strata.cost

import rego.v1

regions := {
	"aws": {"eu-central-1", "eu-west-1", "us-east-1"},
	"gcp": {"europe-west3", "europe-west4", "us-central1"},
	"hetzner": {"fsn1", "nbg1", "hel1"},
}

# From eight cores on, and whatever has an accelerator.
expensive := {
	"aws": `\.([2-9]|[1-9][0-9]+)xlarge$|\.metal|^(p|g|inf|trn|dl|u)[0-9-]`,
	"gcp": `-(8|16|22|30|32|44|48|60|64|80|88|90|96|112|128|176|180|192|208|224|360|416)$|^(a2|a3|a4|g2|m1|m2|m3|m4)-`,
	"hetzner": `^(ccx[3-9]3|cpx[4-9]1|cx[4-9]3|cax[3-9]1)$`,
}

is_production if input.environment == "production"

deny contains finding("on_demand", resource, "is on demand outside of production") if {
	not is_production
	some resource in input.resources
	resource.type == "aws_launch_template"
	markets := [each.market_type | some each in listed(resource.values, "instance_market_options")]
	not "spot" in markets
}

deny contains finding("on_demand", resource, "is on demand outside of production") if {
	not is_production
	some resource in input.resources
	resource.type in {"google_compute_instance", "google_compute_instance_template"}
	models := [each.provisioning_model | some each in listed(resource.values, "scheduling")]
	not "SPOT" in models
}

deny contains finding("expensive_type", resource, concat(" ", ["has the type", type])) if {
	not is_production
	some resource in input.resources
	some field in ["instance_type", "machine_type", "server_type"]
	type := object.get(resource.values, field, null)
	is_string(type)
	regex.match(expensive[input.cloud], type)
}

deny contains finding("region", {"address": "region"}, concat(" ", [input.region, "is not one of ours"])) if {
	not input.region in regions[input.cloud]
}

deny contains finding("idle_machines", resource, "keeps machines without load outside of production") if {
	not is_production
	some resource in input.resources
	resource.type in {"google_compute_autoscaler", "google_compute_region_autoscaler"}
	some policy in listed(resource.values, "autoscaling_policy")
	policy.min_replicas > 0
}

deny contains finding("no_expiry", resource, "has no lifecycle rule beside it") if {
	some resource in input.resources
	resource.type == "aws_s3_bucket"
	count(of_type("aws_s3_bucket_lifecycle_configuration")) < count(of_type("aws_s3_bucket"))
}

deny contains finding("no_expiry", resource, "has no lifecycle rule") if {
	some resource in input.resources
	resource.type == "google_storage_bucket"
	count(listed(resource.values, "lifecycle_rule")) == 0
}

listed(value, field) := value[field] if is_array(object.get(value, field, null))

else := []

of_type(type) := [resource | some resource in input.resources; resource.type == type]

finding(rule, resource, message) := {"rule": rule, "address": resource.address, "message": message}
