package strata.cost

import rego.v1

regions["aws"] := {"eu-central-1", "eu-west-1", "us-east-1"}

# Types with eight or more cores, and all with an accelerator.
expensive["aws"] := `\.([2-9]|[1-9][0-9]+)xlarge$|\.metal|^(p|g|inf|trn|dl|u)[0-9-]`

deny contains finding("on_demand", resource, "is on demand outside of production") if {
	not is_production
	some resource in input.resources
	resource.type == "aws_launch_template"
	markets := [each.market_type | some each in listed(resource.values, "instance_market_options")]
	not "spot" in markets
}

deny contains finding("no_expiry", resource, "has no lifecycle rule beside it") if {
	some resource in input.resources
	resource.type == "aws_s3_bucket"
	count(of_type("aws_s3_bucket_lifecycle_configuration")) < count(of_type("aws_s3_bucket"))
}
