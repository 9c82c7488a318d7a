"""Prometheus metrics. Labels never hold a user, key or session id: their number is bounded by the configuration."""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.core.record import CallRecord

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
LABEL_SETS_KEPT = 2_000


class Metrics:
    """The process's registry and what it counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        by = ("kind", "model", "provider")
        self._calls = Counter("comptroller_calls", "Calls by outcome", (*by, "outcome"), registry=self.registry)
        self._denials = Counter(
            "comptroller_denials", "Refused calls by code", ("kind", "code"), registry=self.registry
        )
        self._tokens = Counter("comptroller_tokens", "Tokens booked", (*by, "direction"), registry=self.registry)
        self._cost = Counter("comptroller_cost_usd", "Money booked, in USD", by, registry=self.registry)
        self._estimated = Counter("comptroller_estimated_calls", "Calls booked by estimate", by, registry=self.registry)
        self._overruns = Counter(
            "comptroller_overruns", "Calls that cost more than their hold", by, registry=self.registry
        )
        self._ours = Histogram(
            "comptroller_own_seconds", "Our share of a call", buckets=_SECONDS, registry=self.registry
        )
        self._upstream = Histogram(
            "comptroller_upstream_seconds",
            "The upstream's share of a call",
            by,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._first = Histogram(
            "comptroller_first_byte_seconds", "To a stream's first byte", by, buckets=_SECONDS, registry=self.registry
        )
        self.in_flight = Gauge("comptroller_sessions_live", "Sessions in memory", registry=self.registry)
        self.counters = Gauge("comptroller_counters_live", "Limit counters in memory", registry=self.registry)
        self.behind = Gauge(
            "comptroller_ledger_behind", "1 while settlements wait to be written", registry=self.registry
        )
        self.reload_ok = Gauge("comptroller_reload_ok", "0 after a reload that was refused", registry=self.registry)
        self.loop_lag = Gauge(
            "comptroller_loop_lag_seconds", "How late the event loop ran last", registry=self.registry
        )
        self.reload_ok.set(1)
        self._of = lru_cache(LABEL_SETS_KEPT)(self._children)

    def count(self, record: CallRecord) -> None:
        if record.outcome == "denied":
            self._denials.labels(record.kind, record.code).inc()
            return
        of = self._of(record.kind, record.model, record.provider, record.outcome)
        calls, tokens_in, tokens_out, cost, estimated, overruns, upstream, first = of
        calls.inc()
        tokens_in.inc(record.input_tokens)
        tokens_out.inc(record.output_tokens)
        cost.inc(record.cost_usd_micros / 1e6)
        if record.estimated:
            estimated.inc()
        if record.overrun:
            overruns.inc()
        self._ours.observe(record.ours_us / 1e6)
        upstream.observe(record.upstream_us / 1e6)
        if record.first_byte_us:
            first.observe(record.first_byte_us / 1e6)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry)

    def _children(
        self, kind: str, model: str, provider: str, outcome: str
    ) -> tuple[Counter, Counter, Counter, Counter, Counter, Counter, Histogram, Histogram]:
        by = (kind, model, provider)
        return (
            self._calls.labels(*by, outcome),
            self._tokens.labels(*by, "input"),
            self._tokens.labels(*by, "output"),
            self._cost.labels(*by),
            self._estimated.labels(*by),
            self._overruns.labels(*by),
            self._upstream.labels(*by),
            self._first.labels(*by),
        )
