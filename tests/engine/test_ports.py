"""Free ports, and whatever uses a port that a service is to have."""

import os
import socket
from pathlib import Path

import pytest

from stratakit.errors import InfrastructureError
from stratakit.programs import PORTS, free_port
from stratakit.stack import ports

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""The ports that Linux gives to outgoing connections."""


def test_free_ports_differ_and_are_free() -> None:
    found = {free_port() for _ in range(9)}
    # Of 10,000: two of nine are the same once in 280 runs, three of them practically never.
    assert len(found) >= 7
    for port in found:
        assert port in PORTS
        with socket.create_server(("127.0.0.1", port)):
            pass


@pytest.mark.skipif(not OUTGOING.exists(), reason="other systems do not publish their range")
def test_a_free_port_cannot_be_given_to_an_outgoing_connection() -> None:
    lowest, _ = OUTGOING.read_text().split()
    assert max(PORTS) < int(lowest)


def test_the_process_of_an_outgoing_connection_on_the_port_is_named() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        pytest.raises(InfrastructureError, match=rf"taken by .*\(pid {os.getpid()} in "),
    ):
        ports.refuse(client.getsockname()[1], "the port", "another port")
