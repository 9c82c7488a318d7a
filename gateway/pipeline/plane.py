"""What the stations of the data plane work with. Built once by wiring; only `catalog` is swapped, whole, on reload."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo

from gateway.core.catalog import Catalog
from gateway.core.pace import Pace
from gateway.core.stop import Stop
from gateway.core.tool_name import ToolNames
from gateway.pipeline.background import Background
from gateway.pipeline.capacity import Capacity
from gateway.pipeline.flights import Flights
from gateway.pipeline.health import Health
from gateway.pipeline.kept_replies import KeptReplies
from gateway.pipeline.keys import KeyRing
from gateway.pipeline.refusals import RefusalMeter
from gateway.pipeline.replays import Replays
from gateway.pipeline.sessions import SessionRegistry
from gateway.pipeline.spending import Spending
from gateway.ports import Alerts, Books, Clock, Ids, Limiter, MadeCalls, Policy, Prices, Provider, Telemetry, Tokens

TOOL_FORMS_KEPT = 20_000


@dataclass(slots=True)
class Plane:
    """One node's data plane."""

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
    capacity: Capacity
    health: Health
    telemetry: Telemetry
    alerts: Alerts
    clock: Clock
    ids: Ids
    pace: Pace
    background: Background
    replays: Replays
    made_calls: MadeCalls
    tool_names: ToolNames
    digest_key: bytes
    child_key: bytes
    policy_zone: tzinfo
    portal_url: str
    own_tools: frozenset[str]
    draining: bool = False
    spending: Spending = field(default_factory=Spending)
    flights: Flights = field(default_factory=Flights)
    responses: KeptReplies[str] = field(default_factory=KeptReplies)
    stops: dict[tuple[str, str], Stop] = field(default_factory=dict)
    tool_forms: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def canonical(self, declared: str) -> tuple[str, ...]:
        """What a tool name in a client's words stands for (rule 19); several where it is ambiguous, never none."""
        found = self.tool_forms.get(declared)
        if found is None:
            if len(self.tool_forms) >= TOOL_FORMS_KEPT:
                self.tool_forms.clear()
            found = self.tool_forms[declared] = self.tool_names.canonical(declared)
        return found

    def offer_tools(self, names: ToolNames) -> None:
        """The tools behind this gateway changed."""
        self.tool_names = names
        self.tool_forms.clear()
