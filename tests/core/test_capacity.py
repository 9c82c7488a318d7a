"""Which share a call belongs to, and how long it may wait."""

import pytest

from gateway.core.attribution import Attribution
from gateway.core.capacity import OTHERS, CapacityRules, ShareRule, patience_us

RULES = CapacityRules(
    "p",
    10,
    shares=(
        ShareRule("app", "ci", 1),
        ShareRule("team", "platform", 3),
        ShareRule("label:tier", "gold", 5),
        ShareRule("role", "contractor", 1),
        ShareRule("environment", "production", 2),
    ),
)


@pytest.mark.parametrize(
    ("dimensions", "share"),
    [
        ({"team": "platform"}, "team:platform"),
        ({"team": "platform", "app": "ci"}, "app:ci"),
        ({"team": "support"}, OTHERS),
        ({}, OTHERS),
        ({"labels": (("tier", "gold"),)}, "label:tier:gold"),
        ({"roles": ("role:contractor",)}, "role:contractor"),
        ({"environment": "production", "user": "alice"}, "environment:production"),
    ],
)
def test_a_call_belongs_to_the_first_share_that_selects_it(dimensions, share) -> None:
    assert RULES.share_of(Attribution("key_1", "one", **dimensions)) == share


@pytest.mark.parametrize(
    ("headers", "patience"),
    [
        ({}, 10_000_000),
        ({"x-comptroller-wait": "2.5"}, 2_500_000),
        ({"x-comptroller-wait": "0"}, 0),
        ({"x-comptroller-wait": "60"}, 10_000_000),
        ({"x-comptroller-wait": "long"}, 10_000_000),
        ({"x-comptroller-wait": "-1"}, 10_000_000),
        ({"x-stainless-timeout": "600"}, 10_000_000),
        ({"x-stainless-read-timeout": "5.0"}, 3_000_000),
        ({"x-stainless-timeout": "1"}, 0),
        ({"x-stainless-timeout": "5", "x-comptroller-wait": "1"}, 1_000_000),
    ],
)
def test_a_call_waits_no_longer_than_its_client(headers, patience) -> None:
    assert patience_us(headers, wait_us=10_000_000, service_us=2_000_000) == patience
