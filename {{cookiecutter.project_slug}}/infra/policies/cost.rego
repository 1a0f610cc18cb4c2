# Cost rules for all clouds; each cloud's own rules and fixtures are in the folder of its name.

package strata.cost

import rego.v1

is_production if input.environment == "production"

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

listed(value, field) := value[field] if is_array(object.get(value, field, null))

else := []

of_type(type) := [resource | some resource in input.resources; resource.type == type]

finding(rule, resource, message) := {"rule": rule, "address": resource.address, "message": message}
