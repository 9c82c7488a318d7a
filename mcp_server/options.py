"""What may be set of the MCP endpoint."""

from dataclasses import dataclass

LOCAL_HOSTS = ("127.0.0.1", "127.0.0.1:*", "localhost", "localhost:*", "[::1]", "[::1]:*")
LOCAL_ORIGINS = tuple(f"{scheme}://{host}" for scheme in ("http", "https") for host in LOCAL_HOSTS)


@dataclass(frozen=True, slots=True)
class FrontOptions:
    """`allowed_hosts` and `allowed_origins` are exact, or end in `:*` for any port: against DNS rebinding.

    A Host that is not listed is answered 421, an Origin 403. Times in seconds, sizes in bytes.
    """

    allowed_hosts: tuple[str, ...] = LOCAL_HOSTS
    allowed_origins: tuple[str, ...] = LOCAL_ORIGINS
    body_bytes_max: int = 4 * 1024 * 1024
    session_idle_s: float = 1_800.0
    sessions_max: int = 10_000
    sessions_per_key_max: int = 200
    open_per_key_max: int = 500
    own_calls_per_s: float = 10.0
    listing_ttl_ms: int = 5_000
