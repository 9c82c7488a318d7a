"""How deployments and credentials fare, as Prometheus metrics. Labels are providers and models, never credentials."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.core.breaker import BreakerState
from gateway.core.upstream_health import DeploymentFigures, ProviderFigures


class HealthMetrics(Collector):
    """Asks for the figures when it is asked itself."""

    def __init__(
        self, deployments: Callable[[], Sequence[DeploymentFigures]], providers: Callable[[], Sequence[ProviderFigures]]
    ) -> None:
        self._deployments = deployments
        self._providers = providers

    def collect(self) -> Iterator[Metric]:
        by, of_model = ("provider",), ("provider", "model")
        is_open = GaugeMetricFamily("comptroller_upstream_open", "1 while it is left alone", labels=of_model)
        in_flight = GaugeMetricFamily("comptroller_upstream_in_flight", "Calls under way", labels=of_model)
        failures = CounterMetricFamily("comptroller_upstream_failures", "Failures of a deployment", labels=of_model)
        opened = CounterMetricFamily("comptroller_upstream_opened", "Times it was left alone", labels=of_model)
        for each in self._deployments():
            name = (each.provider, each.model)
            is_open.add_metric(name, each.state is not BreakerState.CLOSED)
            in_flight.add_metric(name, each.in_flight)
            failures.add_metric(name, each.failed)
            opened.add_metric(name, each.opened)
        retries = CounterMetricFamily("comptroller_upstream_retries", "Further attempts", labels=by)
        refused = CounterMetricFamily("comptroller_upstream_retries_refused", "Without budget", labels=by)
        resting = GaugeMetricFamily("comptroller_upstream_credentials_resting", "Credentials refused lately", labels=by)
        for one in self._providers():
            retries.add_metric((one.provider,), one.retries)
            refused.add_metric((one.provider,), one.retries_refused)
            resting.add_metric((one.provider,), one.credentials_resting)
        yield from (is_open, in_flight, failures, opened, retries, refused, resting)
