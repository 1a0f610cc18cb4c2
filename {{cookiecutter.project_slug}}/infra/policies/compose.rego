# Rules for Compose files. Their fixtures are in fixtures/compose.yaml.

package strata.compose

import rego.v1

deny contains finding("privileged", name, "is privileged") if {
	some name, service in input.services
	object.get(service, "privileged", false) == true
}

deny contains finding("added_capability", name, concat(" ", ["adds the capability", capability])) if {
	some name, service in input.services
	some capability in object.get(service, "cap_add", [])
}

deny contains finding("host_network", name, concat(" ", ["shares the host's", field])) if {
	some name, service in input.services
	some field in ["network_mode", "pid", "ipc"]
	object.get(service, field, "") == "host"
}

deny contains finding("docker_socket", name, "has the socket of the Docker engine") if {
	some name, service in input.services
	some volume in object.get(service, "volumes", [])
	contains(source(volume), "docker.sock")
}

source(volume) := volume if is_string(volume)

else := object.get(volume, "source", "")

deny contains finding("unpinned_image", name, concat(" ", ["has the image", service.image])) if {
	some name, service in input.services
	not is_pinned(service.image)
}

is_pinned(image) if contains(image, "@sha256:")

# Only a colon after the last slash begins a tag: before it, it is a registry's port.
is_pinned(image) if {
	parts := split(image, "/")
	tag := split(parts[count(parts) - 1], ":")
	count(tag) == 2
	not startswith(tag[1], "latest")
}

deny contains finding("no_limit", name, "has no memory limit") if {
	some name, service in input.services
	not "mem_limit" in object.keys(service)
	not service.deploy.resources.limits.memory
}

deny contains finding("no_healthcheck", name, "has no health check") if {
	some name, service in input.services
	not is_checked(service)
}

is_checked(service) if {
	service.healthcheck.test
	object.get(service.healthcheck, "disable", false) == false
}

deny contains finding("open_port", name, concat(" ", ["publishes a port on every address:", port])) if {
	some name, service in input.services
	some port in object.get(service, "ports", [])
	is_string(port)
	count(split(port, ":")) < 3
}

finding(rule, name, message) := {"rule": rule, "address": name, "message": message}
