"""Which addresses can be listened on, and which answer."""

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

CONNECT_S = 3.0


@dataclass(frozen=True, slots=True)
class Reach:
    """`problem` None = it answers."""

    address: str
    problem: str | None = None


def reach(url: str) -> Reach:
    """Opens a TCP connection and closes it; sends nothing."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        return Reach(f"{host}:{port}", error.strerror or str(error))
    return Reach(f"{host}:{port}")


def can_listen(host: str, port: int) -> str | None:
    """Why not, None if it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None
