package strata.security

import rego.v1

labels[type] := "tags" if {
	some type in {
		"aws_iam_role",
		"aws_instance",
		"aws_launch_template",
		"aws_s3_bucket",
		"aws_security_group",
		"aws_subnet",
		"aws_vpc",
	}
}

inbound contains aws_rule(resource, each, listed(each, "cidr_blocks"), each.protocol) if {
	some resource in input.resources
	resource.type == "aws_security_group"
	some each in listed(resource.values, "ingress")
}

inbound contains aws_rule(resource, resource.values, sources, resource.values.ip_protocol) if {
	some resource in input.resources
	resource.type == "aws_vpc_security_group_ingress_rule"
	sources := [cidr | some key in ["cidr_ipv4", "cidr_ipv6"]; cidr := resource.values[key]; is_string(cidr)]
}

inbound contains aws_rule(resource, resource.values, listed(resource.values, "cidr_blocks"), resource.values.protocol) if {
	some resource in input.resources
	resource.type == "aws_security_group_rule"
	resource.values.type == "ingress"
}

aws_rule(resource, value, sources, protocol) := {
	"address": resource.address,
	"protocol": protocol,
	"ports": [[object.get(value, "from_port", 0), object.get(value, "to_port", 65535)]],
	"sources": array.concat(sources, listed(value, "ipv6_cidr_blocks")),
}

deny contains finding("unencrypted_disk", resource, "has a disk that is not encrypted") if {
	some resource in input.resources
	resource.type == "aws_launch_template"
	some mapping in listed(resource.values, "block_device_mappings")
	some disk in listed(mapping, "ebs")
	not object.get(disk, "encrypted", false) in {true, "true"}
}

deny contains finding("unencrypted_disk", resource, "is not encrypted") if {
	some resource in input.resources
	resource.type == "aws_ebs_volume"
	not object.get(resource.values, "encrypted", false) in {true, "true"}
}

deny contains finding("unencrypted_bucket", resource, "has no encryption configuration beside it") if {
	some resource in input.resources
	resource.type == "aws_s3_bucket"
	count(of_type("aws_s3_bucket_server_side_encryption_configuration")) < count(of_type("aws_s3_bucket"))
}

deny contains finding("public_bucket", resource, concat(" ", ["has the public ACL", acl])) if {
	some resource in input.resources
	resource.type in {"aws_s3_bucket", "aws_s3_bucket_acl"}
	acl := object.get(resource.values, "acl", null)
	is_string(acl)
	startswith(acl, "public-")
}

deny contains finding("public_bucket", resource, "lets everybody in by its policy") if {
	some resource in input.resources
	resource.type == "aws_s3_bucket_policy"
	some statement in statements(resource)
	statement.Effect == "Allow"
	everybody(statement.Principal)
}

deny contains finding("public_bucket", resource, concat(" ", ["does not", setting])) if {
	some resource in input.resources
	resource.type == "aws_s3_bucket_public_access_block"
	some setting in ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"]
	object.get(resource.values, setting, false) != true
}

deny contains finding("public_bucket", resource, "has no public access block beside it") if {
	some resource in input.resources
	resource.type == "aws_s3_bucket"
	count(of_type("aws_s3_bucket_public_access_block")) < count(of_type("aws_s3_bucket"))
}

everybody(principal) if principal == "*"

everybody(principal) if principal.AWS == "*"

everybody(principal) if "*" in principal.AWS

deny contains finding("iam_star", resource, "allows every action, or acts on every resource") if {
	some resource in input.resources
	resource.type in {"aws_iam_role_policy", "aws_iam_policy", "aws_iam_user_policy", "aws_iam_group_policy"}
	some statement in statements(resource)
	statement.Effect == "Allow"
	some field in ["Action", "Resource"]
	some value in as_list(object.get(statement, field, []))
	is_star(field, value)
}

is_star(_, value) if value == "*"

is_star(field, value) if {
	field == "Action"
	endswith(value, ":*")
}

deny contains finding("metadata_without_token", resource, "answers metadata requests without a token") if {
	some resource in input.resources
	resource.type in {"aws_launch_template", "aws_instance"}
	tokens := [options.http_tokens | some options in listed(resource.values, "metadata_options")]
	not "required" in tokens
}

statements(resource) := as_list(json.unmarshal(resource.values.policy).Statement) if is_string(resource.values.policy)

else := []

as_list(value) := value if is_array(value)

else := [value]
