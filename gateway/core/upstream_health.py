"""How deployments fare: the rules of an operator, and the figures that operators see."""

from typing import NamedTuple

from gateway.core.breaker import Breaker, BreakerRules, BreakerState
from gateway.core.retry_budget import RetryBudget


class HealthRules(NamedTuple):
    """`retry_percent` = retries for a hundred calls of a provider; `again` = how often a call that reached no
    deployment is tried once more."""

    breaker: BreakerRules = BreakerRules()
    retry_percent: int = 20
    again: int = 1


class Standing:
    """One deployment as calls leave it. `budget` is its provider's."""

    __slots__ = ("breaker", "budget", "failed", "in_flight")

    def __init__(self, budget: RetryBudget) -> None:
        self.breaker = Breaker()
        self.budget = budget
        self.in_flight = self.failed = 0


class DeploymentFigures(NamedTuple):
    """`opens_in_s` = until an open breaker lets a call through, `rests_s` = what is left of a pause that the provider
    asked for; `failed` and `opened` are counts since the start."""

    provider: str
    model: str
    state: BreakerState
    in_flight: int
    failures_in_a_row: int
    opens_in_s: float
    rests_s: float
    failed: int
    opened: int


class ProviderFigures(NamedTuple):
    """Counts since the start. `credentials_resting` of `credentials` are left alone because they were refused."""

    provider: str
    retries: int
    retries_refused: int
    credentials: int
    credentials_resting: int


def deployment_figures(provider: str, model: str, standing: Standing, now_us: int) -> DeploymentFigures:
    breaker = standing.breaker
    return DeploymentFigures(
        provider,
        model,
        breaker.state,
        standing.in_flight,
        breaker.failures,
        max(0, (breaker.open_until_us or 0) - now_us) / 1e6,
        max(0, breaker.resting_until_us - now_us) / 1e6,
        standing.failed,
        breaker.opened,
    )
