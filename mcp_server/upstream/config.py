"""One configured tool server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How one tool server is reached, and what its calls cost.

    `url`, `bearer` and `headers` belong to `http`; `command`, `env` and `cwd` to `stdio`. `env` is the program's
    whole environment, beside the harmless names of `upstream.process.INHERITED`. `timeout_s` bounds one tool call from
    start to end. Credentials are kept out of `repr`.
    """

    name: str
    transport: Literal["http", "stdio"]
    url: str | None = None
    bearer: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    price_usd_micros_per_call: int = 0
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class UpstreamOptions:
    """What holds for every tool server. Sizes in bytes, times in seconds.

    `message_bytes_max` caps one result; `listing_ttl_s` is how long a listing is believed where no change was
    announced; `lane_idle_s` is how long an upstream session of one client is kept without a call.
    """

    connect_timeout_s: float = 5.0
    listing_timeout_s: float = 10.0
    listing_ttl_s: float = 60.0
    message_bytes_max: int = 16 * 1024 * 1024
    tools_max: int = 2_000
    lanes_max: int = 1_000
    lane_idle_s: float = 2_100.0
    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    stop_grace_s: float = 2.0
