"""The `capacity` section: what it says, what it refuses, and the rules that the data plane gets from it."""

from pathlib import Path

import pytest

from gateway.core.capacity import CapacityRules, ShareRule
from gateway.settings import Loaded, parse
from gateway.wiring.capacity import capacity_rules
from tests.settings.samples import faults

PROVIDER = "providers: {sim: {kind: simulated}}\n"


def loaded(section: str) -> Loaded:
    return parse(f"{PROVIDER}capacity: {section}\n".encode(), {}, path=Path("comptroller.yaml"))


def test_a_section_becomes_the_rules_of_a_provider() -> None:
    text = """{providers: {sim: {
        concurrent: 8, requests_per_minute: 600, tokens_per_minute: 90_000, queue: 20, wait: 500ms, default_share: 2,
        shares: {"user:alice": 1, "label:tier:gold": 5, environment:production: 2}}}}"""
    assert capacity_rules(loaded(text).settings) == [
        CapacityRules(
            "sim",
            8,
            600,
            90_000,
            (
                ShareRule("user", "alice", 1),
                ShareRule("label:tier", "gold", 5),
                ShareRule("environment", "production", 2),
            ),
            default_weight=2,
            line_max=20,
            wait_us=500_000,
        )
    ]


def test_without_it_nothing_is_bounded() -> None:
    assert capacity_rules(parse(PROVIDER.encode(), {}, path=Path("comptroller.yaml")).settings) == []


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("{providers: {smi: {concurrent: 1}}}", "capacity.providers.smi: there is no provider `smi`"),
        ("{providers: {sim: {concurrent: 0}}}", "capacity.providers.sim.concurrent: "),
        ("{providers: {sim: {shares: {platform: 1}}}}", "capacity.providers.sim.shares"),
        ("{providers: {sim: {shares: {session:x: 1}}}}", "capacity.providers.sim.shares"),
        ("{providers: {sim: {shares: {team:a: 0}}}}", "capacity.providers.sim.shares.team:a: "),
        (
            "{providers: {sim: {shares: {team:a: half}}}}",
            "capacity.providers.sim.shares.team:a: must be a whole number",
        ),
        ("{providers: {sim: {wait: 10}}}", "capacity.providers.sim.wait: a duration needs a number and a unit"),
        ("{provider: {sim: {}}}", "capacity.provider: `provider` is not a setting here"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(section: str, fault: str) -> None:
    (found,) = faults(f"{PROVIDER}capacity: {section}\n")
    assert fault in found


def test_more_shares_than_a_call_should_be_compared_with_are_refused() -> None:
    shares = ", ".join(f"team:t{number}: 1" for number in range(101))
    (found,) = faults(f"{PROVIDER}capacity: {{providers: {{sim: {{shares: {{{shares}}}}}}}}}\n")
    assert "has more than 100 shares" in found
