"""What the stations of the data plane work with. Built once by wiring; only `catalog` is swapped, whole, on reload."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from gateway.core.catalog import Catalog
from gateway.core.pace import Pace
from gateway.pipeline.background import Background
from gateway.pipeline.keys import KeyRing
from gateway.pipeline.refusals import RefusalMeter
from gateway.pipeline.sessions import SessionRegistry
from gateway.ports import Books, Clock, Ids, Limiter, Policy, Prices, Provider, Telemetry, Tokens


@dataclass(slots=True)
class Plane:
    """One node's data plane. `canonical` brings a tool name in a client's words to `server__tool` (rule 19)."""

    catalog: Catalog
    books: Books
    limiter: Limiter
    policy: Policy
    prices: Prices
    tokens: Tokens
    providers: Mapping[str, Provider]
    keys: KeyRing
    sessions: SessionRegistry
    refusals: RefusalMeter
    telemetry: Telemetry
    clock: Clock
    ids: Ids
    pace: Pace
    background: Background
    canonical: Callable[[str], str]
    digest_key: bytes
    policy_zone: tzinfo
    portal_url: str
