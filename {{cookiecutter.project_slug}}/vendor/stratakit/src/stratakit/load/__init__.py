"""The tier `load`: throughput and latency of a service under load."""

from pathlib import Path

SCENARIO = Path("tests", "load", "locustfile.py")
"""Path of a service's scenario in its folder."""
PATIENCE = "STRATA_LOAD_PATIENCE"
"""Variable with the number of seconds that a worker tries to reach its master."""
