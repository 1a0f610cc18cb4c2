"""The stack: every service of the project running on a developer's machine, with its servers.

Through Compose where Docker answers, else as processes: on embedded servers, or on one that is
given. `lifecycle` has the actions, `containers` and `processes` are the two ways to run a service,
`service_env` is what a service is given: servers that stay up, a migrated database, settings.
"""

from .lifecycle import (
    Up,
    clean,
    dev,
    down,
    follow,
    logs,
    paused,
    restart,
    running,
    show,
    up,
    wait,
)
from .states import State, Status

__all__ = [
    "State",
    "Status",
    "Up",
    "clean",
    "dev",
    "down",
    "follow",
    "logs",
    "paused",
    "restart",
    "running",
    "show",
    "up",
    "wait",
]
