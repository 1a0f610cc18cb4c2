package strata.security

import rego.v1

labels[type] := "labels" if {
	some type in {"hcloud_firewall", "hcloud_network", "hcloud_server", "hcloud_volume"}
}

inbound contains rule if {
	some resource in input.resources
	resource.type == "hcloud_firewall"
	some each in listed(resource.values, "rule")
	each.direction == "in"
	rule := {
		"address": resource.address,
		"protocol": each.protocol,
		"ports": [port_range(object.get(each, "port", "any"))],
		"sources": listed(each, "source_ips"),
	}
}
