"""Ports of 127.0.0.1 for servers."""

import random
import socket
from pathlib import Path

from harness.errors import HarnessError

# The kernel gives connections ports of a range of its own, on which SGLang's parts draw while it starts.
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST_PORT = 20_000


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now, and that the kernel gives to nobody by itself.

    The server binds it half a minute later.
    """
    try:
        first_ephemeral = int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first_ephemeral = 0
    others = range(LOWEST_PORT, max(LOWEST_PORT, first_ephemeral))
    for port in [*random.sample(others, min(len(others), 100)), 0]:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise HarnessError("no port of 127.0.0.1 is free")


def check_port_free(port: int) -> None:
    """Do nothing if `port` can be listened on.

    Raises:
        HarnessError: It cannot: requests would reach somebody else's server.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise HarnessError(
                f"port {port} of 127.0.0.1 is taken ({error.strerror}): leave --port out for a free one"
            ) from error
