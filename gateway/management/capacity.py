"""The capacity of providers as operators see it: what is bounded, who has and who waits for what, what slows it."""

from typing import Any

from gateway.core.capacity import CapacityFigures


def capacity_object(figures: CapacityFigures) -> dict[str, Any]:
    rules = figures.rules
    return {
        "provider": figures.provider,
        "concurrent": rules.concurrent,
        "requests_per_minute": rules.requests_per_minute,
        "tokens_per_minute": rules.tokens_per_minute,
        "in_flight": figures.in_flight,
        "waiting": figures.waiting,
        "shares": [share._asdict() for share in figures.shares],
        "models": [model._asdict() for model in figures.models],
        "admitted": figures.admitted,
        "waited": figures.waited,
        "wait_seconds": figures.waited_us / 1e6,
        "refused": figures.refused,
        "upstream_refusals": figures.upstream_refusals,
    }
