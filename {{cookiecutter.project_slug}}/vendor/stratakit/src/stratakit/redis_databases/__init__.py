"""Numbered Redis databases, one for each worker, so that runs do not see each other's keys.

Others may use any database at any time, even on our own server, which many runs share. `shared`
takes no database that shows signs of use, marks what it takes, and checks before each deletion;
`leftovers` handles those of killed runs, of others, and of the stack, which reserves one.
"""

from .leftovers import discard, free, reserve, sweep, unmarked
from .shared import Keyspace, claim
from .survey import url

__all__ = ["Keyspace", "claim", "discard", "free", "reserve", "sweep", "unmarked", "url"]
