"""Numbered Redis databases, one for each worker, so that runs do not see each other's keys.

Others may use any database at any time, on a server of ours as well, which many runs use.
`shared` takes none that shows a sign of them, marks what it takes, and looks before each deletion;
`leftovers` are of runs that were killed, of others, and of the stack, which keeps one for itself.
"""

from .leftovers import discard, free, reserve, sweep, unmarked
from .shared import Keyspace, claim
from .survey import url

__all__ = ["Keyspace", "claim", "discard", "free", "reserve", "sweep", "unmarked", "url"]
