package strata.cost

import rego.v1

regions["gcp"] := {"europe-west3", "europe-west4", "us-central1"}

# Types with eight or more cores, and all with an accelerator.
expensive["gcp"] := `-(8|16|22|30|32|44|48|60|64|80|88|90|96|112|128|176|180|192|208|224|360|416)$|^(a2|a3|a4|g2|m1|m2|m3|m4)-`

deny contains finding("on_demand", resource, "is on demand outside of production") if {
	not is_production
	some resource in input.resources
	resource.type in {"google_compute_instance", "google_compute_instance_template"}
	models := [each.provisioning_model | some each in listed(resource.values, "scheduling")]
	not "SPOT" in models
}

deny contains finding("idle_machines", resource, "keeps machines without load outside of production") if {
	not is_production
	some resource in input.resources
	resource.type in {"google_compute_autoscaler", "google_compute_region_autoscaler"}
	some policy in listed(resource.values, "autoscaling_policy")
	policy.min_replicas > 0
}

deny contains finding("no_expiry", resource, "has no lifecycle rule") if {
	some resource in input.resources
	resource.type == "google_storage_bucket"
	count(listed(resource.values, "lifecycle_rule")) == 0
}
