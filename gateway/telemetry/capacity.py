"""The capacity of providers as Prometheus metrics. Labels are providers and models, not shares: those may be people."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.core.capacity import CapacityFigures


class CapacityMetrics(Collector):
    """Asks for the figures when it is asked itself."""

    def __init__(self, figures: Callable[[], Sequence[CapacityFigures]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        by, of_model = ("provider",), ("provider", "model")
        limit = GaugeMetricFamily("comptroller_capacity_limit", "Configured bound", labels=(*by, "unit"))
        in_flight = GaugeMetricFamily("comptroller_capacity_in_flight", "Calls that have their turn", labels=by)
        waiting = GaugeMetricFamily("comptroller_capacity_waiting", "Calls in line", labels=by)
        allowed = GaugeMetricFamily(
            "comptroller_capacity_effective", "Calls in flight that the provider bears now", labels=of_model
        )
        paused = GaugeMetricFamily("comptroller_capacity_paused_seconds", "Pause it asked for", labels=of_model)
        admitted = CounterMetricFamily("comptroller_capacity_admitted", "Turns given", labels=by)
        waited = CounterMetricFamily("comptroller_capacity_waited", "Calls that had to wait", labels=by)
        wait = CounterMetricFamily("comptroller_capacity_wait_seconds", "Time they waited", labels=by)
        refused = CounterMetricFamily("comptroller_capacity_refused", "Calls refused a turn", labels=by)
        said_no = CounterMetricFamily("comptroller_capacity_upstream_refusals", "429 and 529 it sent", labels=by)
        for each in self._figures():
            name, rules = (each.provider,), each.rules
            bounds = (
                ("concurrent", rules.concurrent),
                ("requests", rules.requests_per_minute),
                ("tokens", rules.tokens_per_minute),
            )
            for unit, bound in bounds:
                if bound is not None:
                    limit.add_metric((*name, unit), bound)
            in_flight.add_metric(name, each.in_flight)
            waiting.add_metric(name, each.waiting)
            for model in each.models:
                bears = model.in_flight_max if model.in_flight_max is not None else rules.concurrent
                if bears is not None:
                    allowed.add_metric((*name, model.model), bears)
                paused.add_metric((*name, model.model), model.paused_s)
            admitted.add_metric(name, each.admitted)
            waited.add_metric(name, each.waited)
            wait.add_metric(name, each.waited_us / 1e6)
            refused.add_metric(name, each.refused)
            said_no.add_metric(name, each.upstream_refusals)
        yield from (limit, in_flight, waiting, allowed, paused, admitted, waited, wait, refused, said_no)
