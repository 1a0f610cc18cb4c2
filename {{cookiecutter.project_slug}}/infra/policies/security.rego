# Security rules for all clouds and environments; each cloud's own rules and fixtures are in the folder of
# its name. Portable between OPA and regorus: no net.*, no sprintf of computed values. A rule is an
# entry of `deny`.

package strata.security

import rego.v1

required_labels := {"project", "environment", "component", "owner", "managed_by"}

deny contains finding("missing_label", resource, concat(" ", ["has no label", label])) if {
	some resource in input.resources
	field := labels[resource.type]
	some label in required_labels
	object.get(given(resource, field), label, "") == ""
}

given(resource, field) := resource.values[field] if is_object(object.get(resource.values, field, null))

else := {}

# Each cloud's file converts its inbound rules to one form: address, protocol, port ranges, sources.
deny contains finding("ssh_from_world", rule, concat(" ", ["lets SSH through from", source])) if {
	some rule in inbound
	admits_ssh(rule)
	some source in rule.sources
	is_world(source)
}

# Networks with more than 1/256 of all addresses count as the world, so that its halves do as well.
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

port_range(text) := [0, 65535] if text == "any"

else := [to_number(split(text, "-")[0]), to_number(split(text, "-")[1])] if contains(text, "-")

else := [to_number(text), to_number(text)]

listed(value, field) := value[field] if is_array(object.get(value, field, null))

else := []

of_type(type) := [resource | some resource in input.resources; resource.type == type]

finding(rule, resource, message) := {"rule": rule, "address": resource.address, "message": message}
