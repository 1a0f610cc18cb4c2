"""Creation, migration, cloning, cleaning and dropping of databases, for tasks and fixtures alike.

`connection` connects to a server, `migrations` migrates a database to a revision, `runs` manages
the databases of test runs, `cleaning` undoes a test's writes. Whatever two runs could do to each
other is guarded by an advisory lock, which the server releases when its holder dies for any reason.
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
