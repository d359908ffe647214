"""Find out whether a server can listen at an address, before gRPC tries and writes its own lines.

They go to standard error, past any log, and do not say what to do.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

_ADVICE = {
    errno.EADDRINUSE: "another program listens there; stop it, or choose another port with "
    "--listen (port 0 takes a free one)",
    errno.EACCES: "the system does not let this user listen there; choose a port from 1024 on",
    errno.EADDRNOTAVAIL: "it is no address of this machine; 127.0.0.1 is for programs on this "
    "machine, 0.0.0.0 for others, too",
}


def require_port(listen: str) -> None:
    """Raise an error where nobody can listen now.

    Of a name of several addresses, such as localhost, none may be in use: clients take any of them.

    Args:
        listen: `host:port`.

    Raises:
        OSError: The port is in use, or the host is no name or address of this machine.
    """
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or int(port) == 0:  # a free one
        return
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(f"there is no host of the name {host}: {error.strerror}") from error
    except UnicodeError as error:
        reason = "what is between its dots has 1 to 63 characters"
        raise OSError(f"there is no host of the name {host}: {reason}") from error
    obstacles = {_obstacle(family, address) for family, _, _, _, address in found}
    if 0 in obstacles:  # a machine may lack IPv6
        obstacles.discard(errno.EADDRNOTAVAIL)
    for number, advice in _ADVICE.items():
        if number in obstacles:
            raise OSError(advice)


def _obstacle(family: int, address: tuple[Any, ...]) -> int:
    """Return the number of the error with which an address cannot be bound; 0 where it can."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As gRPC does: connections that have just ended are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.errno or 0
    return 0


def require_socket(path: Path) -> None:
    """Raise an error where no Unix socket can be made, else leave none.

    Raises:
        OSError: As the system says it.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
    path.unlink()
