package strata.security

import rego.v1

labels[type] := "labels" if {
	some type in {"google_compute_instance", "google_compute_instance_template", "google_storage_bucket"}
}

inbound contains rule if {
	some resource in input.resources
	resource.type == "google_compute_firewall"
	object.get(resource.values, "direction", "INGRESS") == "INGRESS"
	some allowed in listed(resource.values, "allow")
	rule := {
		"address": resource.address,
		"protocol": lower(allowed.protocol),
		"ports": gcp_ports(allowed),
		"sources": listed(resource.values, "source_ranges"),
	}
}

# Without ports, a rule applies to all ports.
gcp_ports(allowed) := [port_range(ports) | some ports in allowed.ports] if count(listed(allowed, "ports")) > 0

else := [[0, 65535]]

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

deny contains finding("iam_star", resource, concat(" ", ["grants the basic role", resource.values.role])) if {
	some resource in input.resources
	contains(resource.type, "_iam_")
	startswith(resource.type, "google_")
	resource.values.role in {"roles/owner", "roles/editor", "roles/viewer"}
}
