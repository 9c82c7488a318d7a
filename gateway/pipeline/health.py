"""Which deployments a call may go to, in which order, and what its end says about the one that it went to.

Rule: a model with one deployment that is well must cost next to nothing here: a look-up and some additions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from gateway.core.balancing import Balance, Rotation, cheapest, least_loaded
from gateway.core.catalog import Deployment, Model
from gateway.core.denial import Code, Denial
from gateway.core.ledger import Outcome
from gateway.core.provider_signal import retry_after_us
from gateway.core.retry_budget import RetryBudget
from gateway.core.upstream_health import DeploymentFigures, HealthRules, ProviderFigures, Standing, deployment_figures
from gateway.ports import Clock, Provider

ONLY: Final = (0,)
_TOO_MANY = 429
_SERVER_FAULT = 500


class Health:
    """All deployments of one node. What is known of one outlives a reload."""

    def __init__(self, clock: Clock, rules: HealthRules) -> None:
        self.rules = rules
        self._clock = clock
        self._standings: dict[tuple[str, str], Standing] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._rotations: dict[str, Rotation] = {}

    def configure(self, rules: HealthRules, models: Iterable[Model]) -> None:
        self.rules = rules
        named = {(each.provider, each.upstream_model) for model in models for each in model.deployments}
        self._standings = {at: standing for at, standing in self._standings.items() if at in named}
        providers = {provider for provider, _ in named}
        self._budgets = {provider: budget for provider, budget in self._budgets.items() if provider in providers}
        self._rotations.clear()

    def of(self, deployment: Deployment) -> Standing:
        at = (deployment.provider, deployment.upstream_model)
        found = self._standings.get(at)
        if found is None:
            budget = self._budgets.setdefault(deployment.provider, RetryBudget())
            found = self._standings[at] = Standing(budget)
        return found

    def now_us(self) -> int:
        return self._clock.monotonic_ns() // 1000

    def places(self, model: Model, cost: Callable[[Deployment], int]) -> Sequence[int]:
        """The deployments' places in the order in which they are to be tried; those that asked for a pause last."""
        deployments = model.deployments
        if len(deployments) == 1:
            return ONLY
        found: Sequence[int] = range(len(deployments))
        if model.balance is Balance.WEIGHT:
            rotation = self._rotations.get(model.alias)
            if rotation is None:
                rotation = self._rotations[model.alias] = Rotation(len(deployments))
            found = rotation.order(deployments)
        elif model.balance is Balance.LEAST_LOADED:
            found = least_loaded(deployments, lambda at: self.of(deployments[at]).in_flight)
        elif model.balance is Balance.CHEAPEST:
            found = cheapest(deployments, lambda at: cost(deployments[at]))
        now_us = self.now_us()
        resting = [self.of(each).breaker.resting_until_us > now_us for each in deployments]
        return sorted(found, key=resting.__getitem__) if any(resting) else found

    def failed(self, standing: Standing, headers: Mapping[str, str] | None = None) -> None:
        """No connection, no answer in time, 5xx, or an answer that is none."""
        asked_us = None if headers is None else retry_after_us(headers, self._clock.now_us())
        standing.failed += 1
        standing.breaker.failed(self.rules.breaker, self.now_us(), asked_us)

    def heard(self, standing: Standing, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer. A refusal of one call or of one credential says nothing against the deployment."""
        if status >= _SERVER_FAULT:
            self.failed(standing, headers)
        elif status < 300:
            if standing.breaker.open_until_us is not None:
                standing.breaker.answered(self.rules.breaker)
        elif status == _TOO_MANY:
            standing.breaker.answered(self.rules.breaker)
            if (asked_us := retry_after_us(headers, self._clock.now_us())) is not None:
                standing.breaker.rest(asked_us, self.now_us())
        else:
            standing.breaker.succeeded()

    def ended(self, standing: Standing, outcome: Outcome) -> None:
        """An answer that began has ended, whoever ended it."""
        if outcome is Outcome.CUT_BY_UPSTREAM:
            self.failed(standing)
        elif standing.breaker.failures:
            standing.breaker.succeeded()

    def all_open(self, model: Model, standings: Sequence[Standing]) -> Denial:
        """What a caller is told whose call may be sent nowhere now."""
        until_us = min(standing.breaker.open_until_us or 0 for standing in standings)
        after_s = max(1.0, (until_us - self.now_us()) / 1e6)
        text = (
            f"Every provider of model '{model.alias}' failed several times in a row and is left alone for a moment; "
            f"retry in about {after_s:.0f} s."
        )
        return Denial(Code.UPSTREAM_FAILED, text, retry_after_s=after_s)

    def figures(self) -> list[DeploymentFigures]:
        """Of the deployments that were asked so far."""
        now_us = self.now_us()
        return [deployment_figures(*at, standing, now_us) for at, standing in self._standings.items()]

    def provider_figures(self, providers: Mapping[str, Provider]) -> list[ProviderFigures]:
        none = RetryBudget()
        found = []
        for name, provider in providers.items():
            budget = self._budgets.get(name, none)
            count, resting = provider.credentials()
            found.append(ProviderFigures(name, budget.taken, budget.refused, count, resting))
        return found
