"""The contract's own sample file: all of it is known, what is not built is refused by name, the rest is read right."""

from datetime import date
from pathlib import Path

import jsonschema  # type: ignore[import-untyped] # ships no types
import pytest

from gateway.settings import Loaded, parse
from gateway.settings.schema import json_schema
from tests.settings.samples import ENVIRONMENT, PATH, as_an_editor_reads, faults

SAMPLE = (Path(__file__).parent / "contract_sample.yaml").read_text()

NOT_BUILT = {
    "retention": "retention: {calls: 400d, audit: 7y}\n",
}


def built() -> str:
    """The sample without the parts that are not built."""
    text = SAMPLE
    for part in NOT_BUILT.values():
        assert part in text
        text = text.replace(part, "")
    return text


@pytest.fixture(name="loaded", scope="module")
def _loaded() -> Loaded:
    return parse(built().encode(), ENVIRONMENT, path=PATH)


def test_rule_35_each_part_that_is_not_built_is_refused_by_name_and_place() -> None:
    assert faults(SAMPLE) == [
        "58:12 retention: `retention` is not built yet (planned); remove it",
    ]


def test_alerts_that_are_empty_or_null_are_off(loaded: Loaded) -> None:
    alerts = loaded.settings.alerts
    assert (alerts.webhook, alerts.slack, alerts.smtp) == (None, None, None)


def test_principals_and_keys(loaded: Loaded) -> None:
    settings = loaded.settings
    assert settings.teams["platform"].leads == ("alice",)
    assert dict(settings.agents["reviewer"].labels) == {"kind": "coding"}
    reviewer, helpdesk = settings.keys
    assert (reviewer.expires_at_us, reviewer.models) == (1_798_761_600_000_000, ("gpt-5-mini",))
    assert reviewer.secret.reveal() == ENVIRONMENT["REVIEWER_KEY"]
    assert (helpdesk.may_assert_user, helpdesk.models) == (True, None)


def test_models_and_prices(loaded: Loaded) -> None:
    settings = loaded.settings
    assert settings.models["gpt-5-mini"].targets("gpt-5-mini") == (("openai", "gpt-5-mini"),)
    assert settings.models["coder"].targets("coder") == (("claude", "claude-opus-5-5"), ("openai", "gpt-6.1-sol"))
    (price,) = settings.models["local-llm"].price
    assert (price.input_picos_per_token, price.output_picos_per_token) == (100_000, 400_000)
    assert settings.prices.unknown.estimate is None
    assert settings.prices.overrides["tiny"][0].from_date == date(2026, 1, 1)
    assert settings.providers["local"].api_key is None
    assert settings.providers["openai"].url == "https://api.openai.com/v1"


def test_limits(loaded: Loaded) -> None:
    seen = [
        (limit.name, limit.unit, limit.amount, limit.each, limit.effective_window, limit.selectors)
        for limit in loaded.settings.limits
    ]
    assert seen == [
        ("session-tokens", "tokens", 2_000_000, "session", "session", ()),
        ("session-money", "usd", 5_000_000, "session", "session", ()),
        ("dev-day", "tokens", 2_000_000, "user", "day", ()),
        ("platform-month", "usd", 500_000_000, None, "month", (("team", "platform"),)),
        ("premium-day", "usd", 10_000_000, "user", "day", (("model_tier", "premium"),)),
        ("agent-rate", "requests", 60, "agent", "minute", ()),
        ("agent-parallel", "concurrent", 8, "agent", None, ()),
        ("tools", "tool_calls", 500, "session", "session", ()),
        ("user-day", "tokens", 1_000_000, "user", "day", ()),
        ("shared-month", "usd", 900_000_000, None, "month", (("team", "platform"),)),
        ("new-idea", "usd", 2_000_000, "agent", "day", ()),
    ]
    assert loaded.settings.limits[3].timezone == "Europe/Berlin"
    assert loaded.settings.limits[8].override_amounts == (("user:alice", 5_000_000), ("role:contractor", 200_000))
    assert loaded.settings.limits[10].mode == "observe"
    assert loaded.settings.limits[3].alert_at == (50, 80, 100)
    assert loaded.settings.limits[4].action == "route_to:gpt-5-mini"
    assert dict(loaded.settings.limits[9].reserved) == {"app:checkout": 3_000}


def test_rule_14_the_values_of_the_contract_are_the_defaults(loaded: Loaded) -> None:
    untouched = parse(b"", {}, path=PATH).settings
    for section in ("server", "storage", "counters", "policy", "sessions", "loops", "timeouts", "sizes"):
        assert getattr(loaded.settings, section) == getattr(untouched, section)


def test_capacity(loaded: Loaded) -> None:
    openai = loaded.settings.capacity.providers["openai"]
    assert (openai.concurrent, openai.requests_per_minute, openai.tokens_per_minute) == (64, None, None)
    assert openai.named_shares == (("team", "platform", 3), ("team", "support", 1))


def test_tool_servers(loaded: Loaded) -> None:
    servers = loaded.settings.mcp.servers
    assert servers["github"].auth is not None
    assert servers["github"].auth.bearer.reveal() == ENVIRONMENT["GITHUB_MCP_TOKEN"]
    assert servers["files"].command == ("npx", "@modelcontextprotocol/server-filesystem", "/srv/shared")
    assert servers["files"].price_usd_micros_per_call == 0


def test_the_published_schema_accepts_it() -> None:
    jsonschema.validate(as_an_editor_reads(built()), json_schema())
