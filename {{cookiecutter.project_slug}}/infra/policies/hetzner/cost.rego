package strata.cost

import rego.v1

regions["hetzner"] := {"fsn1", "nbg1", "hel1"}

# Types with eight or more cores.
expensive["hetzner"] := `^(ccx[3-9]3|cpx[4-9]1|cx[4-9]3|cax[3-9]1)$`
