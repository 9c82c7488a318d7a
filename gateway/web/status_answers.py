"""What the admin API says of the state of a node: its part of the OpenAPI document."""

from gateway.web.admin_answers import Answer


class CapacityShare(Answer):
    """`guaranteed`: slots that are its own, null where calls in flight are not bounded."""

    share: str
    weight: int
    guaranteed: float | None
    in_flight: int
    waiting: int


class CapacityModel(Answer):
    """What the provider's own answers allow: `in_flight_max` null = it set no bound lately."""

    model: str
    in_flight: int
    in_flight_max: int | None
    paused_s: float


class Capacity(Answer):
    """A provider whose capacity is shared out, now; the counts are since the start."""

    provider: str
    concurrent: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    in_flight: int
    waiting: int
    shares: list[CapacityShare]
    models: list[CapacityModel]
    admitted: int
    waited: int
    wait_seconds: float
    refused: int
    upstream_refusals: int


class DeploymentHealth(Answer):
    """A deployment that was asked so far. `state`: `closed` (well), `open` (nothing is sent for `opens_in_s`) or
    `half_open` (one call finds out); `rests_s` = what is left of a pause that the provider asked for; `failed` and
    `opened` since the start."""

    provider: str
    model: str
    state: str
    in_flight: int
    failures_in_a_row: int
    opens_in_s: float
    rests_s: float
    failed: int
    opened: int


class ProviderHealth(Answer):
    """`retries` = further attempts since the start, `retries_refused` = those for which there was no budget;
    `credentials_resting` of `credentials` are left alone for now because they were refused."""

    provider: str
    retries: int
    retries_refused: int
    credentials: int
    credentials_resting: int


class Status(Answer):
    version: str
    ready: bool
    started_at: str
    policy_version: str
    revision: int
    config: str | None
    models: list[str]
    keys: int
    sessions_live: int
    calls_in_flight: int
    ledger_behind: bool
    capacity: list[Capacity]
    deployments: list[DeploymentHealth]
    providers: list[ProviderHealth]
