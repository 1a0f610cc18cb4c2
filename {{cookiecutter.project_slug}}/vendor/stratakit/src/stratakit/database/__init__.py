"""Create, migrate, clone, clean and drop databases: one place, for tasks and fixtures alike.

`connection` reaches a server, `migrations` brings a database to a revision, `runs` has what a test
run makes for itself, `cleaning` undoes what a test wrote. Everything that two runs could do to each
other is under an advisory lock, which the server lets go when its holder dies, however it dies.
"""

from .cleaning import Cleaner
from .connection import Connection, connect, session, url
from .migrations import MigrationError, migrate
from .runs import clone, drop, finished_template, run, sweep, template

__all__ = [
    "Cleaner",
    "Connection",
    "MigrationError",
    "clone",
    "connect",
    "drop",
    "finished_template",
    "migrate",
    "run",
    "session",
    "sweep",
    "template",
    "url",
]
