"""Prometheus metrics. Labels never hold a user, key or session id: their number is bounded by the configuration.

Calls are summed in plain numbers and handed to prometheus-client when they are asked for: a call is counted in 2 us,
where a dozen of the library's own counters take 20.
"""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.core.record import CallRecord

BOUNDS_US = (
    *(500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000),
    *(1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000, 300_000_000),
)
LABEL_SETS_KEPT = 2_000
OTHERS = ("others", "others", "others")
BY = ("kind", "model", "provider")


class Durations:
    """A histogram of microseconds."""

    __slots__ = ("buckets", "sum_us")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0

    def add(self, duration_us: int) -> None:
        self.buckets[bisect_left(BOUNDS_US, duration_us)] += 1
        self.sum_us += duration_us

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus wants them: upper bound in seconds, calls up to it."""
        edges = [*(f"{bound / 1e6:g}" for bound in BOUNDS_US), "+Inf"]
        counts, total = [], 0
        for count in self.buckets:
            total += count
            counts.append(float(total))
        return list(zip(edges, counts, strict=True))


class Sums:
    """Everything that is counted about the calls of one kind, model and provider."""

    __slots__ = (
        "cost_usd_micros",
        "estimated",
        "first_byte",
        "input_tokens",
        "outcomes",
        "output_tokens",
        "overruns",
        "upstream",
    )

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.input_tokens = self.output_tokens = self.cost_usd_micros = self.estimated = self.overruns = 0
        self.upstream, self.first_byte = Durations(), Durations()

    def add(self, record: CallRecord) -> None:
        self.outcomes[record.outcome] = self.outcomes.get(record.outcome, 0) + 1
        self.input_tokens += record.input_tokens
        self.output_tokens += record.output_tokens
        self.cost_usd_micros += record.cost_usd_micros
        self.upstream.add(record.upstream_us)
        if record.estimated:
            self.estimated += 1
        if record.overrun:
            self.overruns += 1
        if record.first_byte_us:
            self.first_byte.add(record.first_byte_us)


class Calls(Collector):
    """The sums, as prometheus-client collects them."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str], Sums] = {}
        self._denials: dict[tuple[str, str], int] = {}
        self._would_deny: dict[tuple[str, str], int] = {}
        self._ours = Durations()

    def count(self, record: CallRecord) -> None:
        if record.outcome == "denied":
            by = (record.kind, record.code)
            self._denials[by] = self._denials.get(by, 0) + 1
            return
        labels = (record.kind, record.model, record.provider)
        sums = self._sums.get(labels)
        if sums is None:
            labels = labels if len(self._sums) < LABEL_SETS_KEPT else OTHERS
            sums = self._sums.setdefault(labels, Sums())
        sums.add(record)
        for what in record.would_deny:
            by = (record.kind, what)
            self._would_deny[by] = self._would_deny.get(by, 0) + 1
        self._ours.add(record.ours_us)

    def denied(self, code: str) -> int:
        """How many calls were refused with this code, of all kinds."""
        return sum(count for by, count in self._denials.items() if by[1] == code)

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily("comptroller_calls", "Calls by outcome", labels=(*BY, "outcome"))
        tokens = CounterMetricFamily("comptroller_tokens", "Tokens booked", labels=(*BY, "direction"))
        cost = CounterMetricFamily("comptroller_cost_usd", "Money booked, in USD", labels=BY)
        estimated = CounterMetricFamily("comptroller_estimated_calls", "Calls booked by estimate", labels=BY)
        overruns = CounterMetricFamily("comptroller_overruns", "Calls that cost more than their hold", labels=BY)
        upstream = HistogramMetricFamily("comptroller_upstream_seconds", "The upstream's share of a call", labels=BY)
        first = HistogramMetricFamily("comptroller_first_byte_seconds", "To a stream's first byte", labels=BY)
        for labels, sums in self._sums.items():
            for outcome, count in sums.outcomes.items():
                calls.add_metric((*labels, outcome), count)
            tokens.add_metric((*labels, "input"), sums.input_tokens)
            tokens.add_metric((*labels, "output"), sums.output_tokens)
            cost.add_metric(labels, sums.cost_usd_micros / 1e6)
            estimated.add_metric(labels, sums.estimated)
            overruns.add_metric(labels, sums.overruns)
            upstream.add_metric(labels, sums.upstream.cumulative(), sums.upstream.sum_us / 1e6)
            first.add_metric(labels, sums.first_byte.cumulative(), sums.first_byte.sum_us / 1e6)
        yield from (calls, tokens, cost, estimated, overruns, upstream, first)
        denials = CounterMetricFamily("comptroller_denials", "Refused calls by code", labels=("kind", "code"))
        for by, count in self._denials.items():
            denials.add_metric(by, count)
        yield denials
        words = "Calls that limits and policy rows which only observe would have refused"
        would_deny = CounterMetricFamily("comptroller_would_deny", words, labels=("kind", "by"))
        for by, count in self._would_deny.items():
            would_deny.add_metric(by, count)
        yield would_deny
        ours = HistogramMetricFamily("comptroller_own_seconds", "Our share of a call")
        ours.add_metric((), self._ours.cumulative(), self._ours.sum_us / 1e6)
        yield ours


class Metrics:
    """The process's registry and what it counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Calls()
        self.registry.register(self.calls)
        self.sessions = Gauge("comptroller_sessions_live", "Sessions in memory", registry=self.registry)
        self.counters = Gauge("comptroller_counters_live", "Limit counters in memory", registry=self.registry)
        self.behind = Gauge(
            "comptroller_ledger_behind", "1 while settlements wait to be written", registry=self.registry
        )
        self.reload_ok = Gauge("comptroller_reload_ok", "0 after a reload that was refused", registry=self.registry)
        self.loop_lag = Gauge(
            "comptroller_loop_lag_seconds", "How late the event loop ran last", registry=self.registry
        )
        self.reload_ok.set(1)
        self._alerts = Counter(
            "comptroller_alert_attempts",
            "Attempts to deliver an alert, by channel and result",
            ("channel", "result"),
            registry=self.registry,
        )

    def count_alert(self, channel: str, result: str) -> None:
        self._alerts.labels(channel, result).inc()

    def count(self, record: CallRecord) -> None:
        self.calls.count(record)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry)
