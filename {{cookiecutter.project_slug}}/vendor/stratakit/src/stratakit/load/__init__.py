"""The tier `load`: how many requests a service takes, and how long each one waits."""

from pathlib import Path

SCENARIO = Path("tests", "load", "locustfile.py")
"""Where the scenario of a service is, in its folder."""
PATIENCE = "STRATA_LOAD_PATIENCE"
"""The variable that holds for how many seconds a worker looks for its master."""
