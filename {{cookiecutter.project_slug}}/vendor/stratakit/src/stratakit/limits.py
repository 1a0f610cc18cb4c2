"""How long the engine waits, in seconds, and why so long: all limits are here.

What waits says what it has waited for when its limit is over. A limit is several times what the
thing takes on a slow and busy machine, so that it ends what hangs and not what is slow. Processes
that stay (the parents of servers and services) wait for the end of what they keep, without limit.
Pauses that give others a moment to leave stand where they are made.
"""

from collections.abc import Mapping

ANSWER = 5.0
"""A server that is up greets a client, and a service answers a probe: milliseconds, usually."""
CONNECT = 30.0
"""A connection of a run: a server that copies databases on a slow disk takes seconds for one."""
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A server that has dropped off the network is noticed within a minute, not within two hours."""
ENGINE = 2.0
"""A Docker engine says that it is there; beyond it counts as absent, and something else is used."""
ENGINE_STEP = 60.0
"""One step of an engine: to make or remove a container, and a pause in a download."""
SERVER_START = 30.0
"""A server accepts connections: 50 ms, and seconds where it has to recover."""
CONTAINER_START = 60.0
"""The same in a new container, which makes its data first."""
CRASH = 5.0
"""The children of a server that was killed notice that they are alone."""
SERVER_STOP = 30.0
"""A server ends after each signal, of which the last is not refused; then the lease is free."""
LEASE = 4 * SERVER_STOP
"""A server that is being stopped is gone: three signals, and some room."""
DATA = 600.0
"""initdb: half a second, minutes on a slow disk. And so is a copy of the programs."""
START = DATA + DATA + LEASE
"""Another run has started the server: it may have to copy the programs and to make the data."""
PROCESS = 10.0
"""A process exists, or has ended after a signal, its requests finished."""
HEALTH = 60.0
"""Services are healthy, where nobody says otherwise."""
LOCK = 60.0
"""Somebody lets a database go, or a test gets a copy of one."""
KEYS = 30.0
"""A Redis server answers a command, as it does in less than a millisecond but after a large one."""
LOOK = 10.0
"""A program that only looks has answered."""
COMMAND = 120.0
"""A program that works on this machine is done: git or docker."""
CLOUD = 600.0
"""Terraform has applied a module on a local cloud: half a minute, and that of lifecycle rules."""
TOOL = 1800.0
"""A check of the static tier is done: the first look of a type checker takes minutes."""
DOWNLOAD = 3600.0
"""Images or packages are there: a slow line takes an hour for some gigabytes."""


def service_stop(variables: Mapping[str, str]) -> float:
    """Return in how many seconds after SIGTERM a service has ended that is given these variables.

    Its own default for SHUTDOWN_GRACE is less than `PROCESS`, what it is given comes on top: who
    kills sooner cuts requests short that the service would have finished.
    """
    given = [value for name, value in variables.items() if name.endswith("_SHUTDOWN_GRACE")]
    return PROCESS + sum(float(value) for value in given if value.isdecimal())
