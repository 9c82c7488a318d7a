"""The order in which the deployments of a call's model are tried, with what the call will probably cost at each."""

from collections.abc import Sequence

from gateway.core.catalog import Deployment
from gateway.core.model_ask import ModelAsk
from gateway.core.money import PICOS_PER_MICRO
from gateway.pipeline.health import ONLY
from gateway.pipeline.plane import Plane

BYTES_A_TOKEN = 4
OUTPUT_TOKENS_USUAL = 500
_WITHOUT_PRICE = 1 << 62


def places_of(plane: Plane, ask: ModelAsk) -> Sequence[int]:
    """Asked once for a call: where weights decide, asking takes a turn."""
    if len(ask.model.deployments) == 1:
        return ONLY

    def cost(deployment: Deployment) -> int:
        priced = plane.prices.rates_for(ask.model.alias, deployment, plane.clock.now_us())
        if priced is None:
            return _WITHOUT_PRICE
        weight, tiers = ask.prompt.weight, ask.service_tiers
        prompt = (weight.tokens_max - weight.constants) // BYTES_A_TOKEN + weight.constants
        output = min(OUTPUT_TOKENS_USUAL, ask.client_max_tokens or OUTPUT_TOKENS_USUAL) if ask.produces_output else 0
        output_picos = output * ask.choices * priced.output_picos(prompt, tiers)
        return priced.prompt_bound(prompt, tiers) * PICOS_PER_MICRO + output_picos

    return plane.health.places(ask.model, cost)
