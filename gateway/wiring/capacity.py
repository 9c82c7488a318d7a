"""From the `capacity` settings to the rules of the lanes."""

from gateway.core.capacity import CapacityRules, ShareRule
from gateway.settings.root import Settings


def capacity_rules(settings: Settings) -> list[CapacityRules]:
    return [
        CapacityRules(
            provider=name,
            concurrent=each.concurrent,
            requests_per_minute=each.requests_per_minute,
            tokens_per_minute=each.tokens_per_minute,
            shares=tuple(ShareRule(*share) for share in each.named_shares),
            default_weight=each.default_share,
            line_max=each.queue,
            wait_us=round(each.wait_s * 1_000_000),
        )
        for name, each in settings.capacity.providers.items()
    ]
