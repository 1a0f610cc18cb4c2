"""Timeouts of the engine in seconds, all in one place, each with its reason.

The error on a timeout says what was waited for. Each limit is several times the usual duration on
a slow and busy machine, so that it ends what hangs and not what is slow. Persistent processes (the
parents of servers and services) wait for their children without limit. Short grace periods for
others to disconnect are defined where they are used.
"""

from collections.abc import Mapping

ANSWER = 5.0
"""Greeting of a server that is up, or a service's response to a probe: usually milliseconds."""
CONNECT = 30.0
"""Connection of a run to a server: seconds while it copies databases on a slow disk."""
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""TCP keepalive that detects a server lost from the network in a minute, not two hours."""
ENGINE = 2.0
"""Ping of a Docker engine; a slower one counts as absent, and another source is used."""
ENGINE_STEP = 60.0
"""Step of a Docker engine: creating or removing a container, or a pause in a download."""
SERVER_START = 30.0
"""Start of a server until it accepts connections: 50 ms, or seconds if it has to recover."""
CONTAINER_START = 60.0
"""Start in a new container, which initializes its data directory first."""
CRASH = 5.0
"""Exit of a killed server's children, once they notice that it is gone."""
SERVER_STOP = 30.0
"""Exit of a server after each signal, the last of which cannot be ignored; frees its lease."""
LEASE = 4 * SERVER_STOP
"""Complete stop of a server: three signals, and some slack."""
DATA = 600.0
"""initdb, or a copy of the binaries: half a second, minutes on a slow disk."""
START = DATA + DATA + LEASE
"""Start of a server by another run, which may have to copy the binaries and run initdb."""
PROCESS = 10.0
"""Start of a process, or its exit after a signal with its requests finished."""
HEALTH = 60.0
"""Default timeout for services to become healthy."""
LOCK = 60.0
"""Release of a database by others, or a copy of one for a test."""
KEYS = 30.0
"""Response to a Redis command: less than a millisecond, except after an expensive command."""
LOOK = 10.0
"""Programs that only inspect something."""
COMMAND = 120.0
"""Programs that work on this machine, such as git or docker."""
CLOUD = 600.0
"""Terraform apply on a local cloud: half a minute, which is that of lifecycle rules."""
TOOL = 1800.0
"""Check of the static tier: the first run of a type checker takes minutes."""
DOWNLOAD = 3600.0
"""Download of images or packages: a slow line takes an hour for some gigabytes."""


def service_stop(variables: Mapping[str, str]) -> float:
    """Return the seconds to wait after SIGTERM for a service with these variables to exit.

    The default of SHUTDOWN_GRACE is less than `PROCESS`; a configured value is added to it, since
    killing the service sooner would cut off requests that it would have finished.
    """
    given = [value for name, value in variables.items() if name.endswith("_SHUTDOWN_GRACE")]
    return PROCESS + sum(float(value) for value in given if value.isdecimal())
