# What no environment may have. Written so that OPA and regorus agree: no net.*, no sprintf of computed
# values. A rule is an entry of `deny`; its fixtures are in fixtures/security.yaml.

package strata.security

import rego.v1

required_labels := {"project", "environment", "component", "owner", "managed_by"}

# Where each kind of resource has its labels.
labels := {
	"aws_instance": "tags",
	"aws_launch_template": "tags",
	"aws_s3_bucket": "tags",
	"aws_security_group": "tags",
	"aws_subnet": "tags",
	"aws_vpc": "tags",
	"aws_iam_role": "tags",
	"google_compute_instance": "labels",
	"google_compute_instance_template": "labels",
	"google_storage_bucket": "labels",
	"hcloud_firewall": "labels",
	"hcloud_network": "labels",
	"hcloud_server": "labels",
	"hcloud_volume": "labels",
}

deny contains finding("missing_label", resource, concat(" ", ["has no label", label])) if {
	some resource in input.resources
	field := labels[resource.type]
	some label in required_labels
	object.get(given(resource, field), label, "") == ""
}

given(resource, field) := resource.values[field] if is_object(object.get(resource.values, field, null))

else := {}

deny contains finding("ssh_from_world", resource, concat(" ", ["lets SSH through from", source])) if {
	some resource in input.resources
	some rule in inbound(resource)
	admits_ssh(rule)
	some source in rule.sources
	is_world(source)
}

# A network is the world if it has a two-hundredth of all addresses: halves of the world count as well.
is_world(cidr) if {
	not contains(cidr, ":")
	to_number(split(cidr, "/")[1]) < 8
}

is_world(cidr) if {
	contains(cidr, ":")
	to_number(split(cidr, "/")[1]) < 8
}

admits_ssh(rule) if rule.protocol in {"-1", "all", "any"}

admits_ssh(rule) if {
	rule.protocol in {"tcp", "6"}
	some ports in rule.ports
	ports[0] <= 22
	ports[1] >= 22
}

# One form for the inbound rules of all clouds: protocol, ranges of ports, sources.
inbound(resource) := {rule |
	resource.type == "aws_security_group"
	some each in listed(resource.values, "ingress")
	rule := aws_rule(each, listed(each, "cidr_blocks"), listed(each, "ipv6_cidr_blocks"), each.protocol)
} if resource.type == "aws_security_group"

else := {rule |
	value := resource.values
	rule := aws_rule(value, [cidr | some key in ["cidr_ipv4", "cidr_ipv6"]; cidr := value[key]; is_string(cidr)], [], value.ip_protocol)
} if resource.type == "aws_vpc_security_group_ingress_rule"

else := {rule |
	resource.values.type == "ingress"
	rule := aws_rule(resource.values, listed(resource.values, "cidr_blocks"), listed(resource.values, "ipv6_cidr_blocks"), resource.values.protocol)
} if resource.type == "aws_security_group_rule"

else := {rule |
	object.get(resource.values, "direction", "INGRESS") == "INGRESS"
	some allowed in listed(resource.values, "allow")
	rule := {
		"protocol": lower(allowed.protocol),
		"ports": gcp_ports(allowed),
		"sources": listed(resource.values, "source_ranges"),
	}
} if resource.type == "google_compute_firewall"

else := {rule |
	some each in listed(resource.values, "rule")
	each.direction == "in"
	rule := {
		"protocol": each.protocol,
		"ports": [port_range(object.get(each, "port", "any"))],
		"sources": listed(each, "source_ips"),
	}
} if resource.type == "hcloud_firewall"

else := set()

aws_rule(value, ipv4, ipv6, protocol) := {
	"protocol": protocol,
	"ports": [[object.get(value, "from_port", 0), object.get(value, "to_port", 65535)]],
	"sources": array.concat(ipv4, ipv6),
}

# Without ports, a rule of Google's is about all of them.
gcp_ports(allowed) := [port_range(ports) | some ports in allowed.ports] if count(listed(allowed, "ports")) > 0

else := [[0, 65535]]

port_range(text) := [0, 65535] if text == "any"

else := [to_number(split(text, "-")[0]), to_number(split(text, "-")[1])] if contains(text, "-")

else := [to_number(text), to_number(text)]

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

deny contains finding("public_bucket", resource, "does not enforce the prevention of public access") if {
	some resource in input.resources
	resource.type == "google_storage_bucket"
	object.get(resource.values, "public_access_prevention", "inherited") != "enforced"
}

deny contains finding("public_bucket", resource, concat(" ", ["grants access to", member])) if {
	some resource in input.resources
	startswith(resource.type, "google_storage_bucket_iam")
	some member in array.concat(listed(resource.values, "members"), [object.get(resource.values, "member", "")])
	member in {"allUsers", "allAuthenticatedUsers"}
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

deny contains finding("iam_star", resource, concat(" ", ["grants the basic role", resource.values.role])) if {
	some resource in input.resources
	contains(resource.type, "_iam_")
	startswith(resource.type, "google_")
	resource.values.role in {"roles/owner", "roles/editor", "roles/viewer"}
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

listed(value, field) := value[field] if is_array(object.get(value, field, null))

else := []

of_type(type) := [resource | some resource in input.resources; resource.type == type]

finding(rule, resource, message) := {"rule": rule, "address": resource.address, "message": message}
