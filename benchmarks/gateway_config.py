"""Writes the configuration, the policy and the policy's tests that the gateway is measured with.

`Governance.ALL` is what a careful company would switch on: 10,000 rules that deny and allow by user, team, agent and
role, conditions among them, and limits of four units on five scopes. Amounts are so large that nothing is refused.
"""

import json
import shutil
from enum import Enum
from pathlib import Path
from typing import Any, Final

from benchmarks.upstream import MODELS

POLICY_RULES = 10_000
OUR_MODEL = Path(__file__).parent.parent / "model.conf"
PRICE: Final = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
HUGE = 1_000_000_000


class Governance(Enum):
    NONE = "one row that allows all models, no limits"
    ALL = "10,000 policy rules, 6 limits on five scopes"


def write_config(
    directory: Path, upstream_port: int, governance: Governance, *, fast_path: bool = True, client: str = "http1"
) -> Path:
    """Fills `directory`. The key is read from `BENCH_KEY` when the gateway starts."""
    policies = directory / "policies"
    policies.mkdir(parents=True)
    shutil.copy(OUR_MODEL, directory / "model.conf")
    rows = policy_rows() if governance is Governance.ALL else ["p, user:bench, *, *, model:invoke, , allow"]
    (policies / "bench.csv").write_text("\n".join(rows) + "\n")
    (policies / "tests.yaml").write_text(json.dumps(expectations(governance)))
    config: dict[str, Any] = {
        "server": {"fast_path": fast_path},
        "upstream": {"client": client},
        "storage": {"url": f"sqlite:///{directory / 'books.db'}"},
        "providers": {
            "mock": {
                "kind": "openai_compatible",
                "base_url": f"http://127.0.0.1:{upstream_port}/v1",
                "api_key": "${BENCH_UPSTREAM_KEY:-none}",
            }
        },
        "models": {name: {"provider": "mock", "price": PRICE, "max_output_tokens": 8192} for name in MODELS},
        "teams": {"bench": {"cost_center": "CC-1"}},
        "users": {"bench": {"groups": ["engineering"]}},
        "agents": {"bench": {"environment": "test"}},
        "keys": [{"name": "bench", "user": "bench", "team": "bench", "agent": "bench", "secret": "${BENCH_KEY}"}],
        # Thousands of sessions in minutes are what is measured, not a runaway.
        "sessions": {"max_new_per_hour": HUGE},
        "limits": limits() if governance is Governance.ALL else [],
    }
    path = directory / "comptroller.yaml"
    path.write_text(json.dumps(config, indent=1))  # JSON is YAML too
    return path


def limits() -> list[dict[str, Any]]:
    """What a careful operator sets: budgets in tokens and money, a rate, a bound on calls in flight, on five scopes."""
    return [
        {"name": "session-tokens", "each": "session", "tokens": HUGE * 1000},
        {"name": "session-usd", "each": "session", "usd": HUGE},
        {"name": "user-day", "each": "user", "tokens": HUGE * 1000, "window": "day"},
        {"name": "team-month", "each": "team", "usd": HUGE, "window": "month"},
        {"name": "agent-rate", "each": "agent", "requests": HUGE, "window": "minute"},
        {"name": "key-parallel", "each": "key", "concurrent": 100_000},
    ]


def expectations(governance: Governance) -> list[dict[str, Any]]:
    """What the policy must say before anything is measured with it."""
    bench = {"user": "bench", "team": "bench", "agent": "bench"}

    def expect(said: str, because: str, who: dict[str, str], model: str, environment: str = "test") -> dict[str, Any]:
        context = {"agent.environment": environment}
        return {"as": who, "model": model, "context": context, "expect": said, "because": because}

    found = [
        *(expect("allow", "these are measured", bench, model) for model in MODELS),
        expect("deny", "nobody else is let in", {"user": "stranger", "agent": "other"}, "bench-plain"),
    ]
    if governance is Governance.ALL:
        found += [
            expect("deny", "the condition is looked at", bench, "bench-plain", "production"),
            expect("deny", "the team may not", bench, "forbidden-model"),
        ]
    return found


def policy_rows() -> list[str]:
    """The caller acts through a role, its team and its agent; a condition is looked at on each of its calls."""
    links = ["g, user:bench, role:developer", "g2, bench-plain, group:bench", "g2, model-premium, group:premium"]
    rules = [
        *(f"p, role:developer, {name}, *, model:invoke, , allow" for name in MODELS),
        'p, agent:bench, *, *, model:invoke, "agent.environment == ""production""", deny',
        "p, team:bench, forbidden-*, *, model:invoke, , deny",
        "p, user:bench, group:premium, *, model:invoke, , deny",
        "p, role:developer, group:bench, files__*, tool:call, , allow",
    ]
    for number in range((POLICY_RULES - len(rules)) // 3 + 1):
        role = f"role:r{number % 50}"
        links.append(f"g, user:u{number}, {role}")
        rules += [
            f"p, user:u{number}, model-{number % 200}, *, model:invoke, , allow",
            f"p, team:t{number % 400}, family-{number}-*, *, model:invoke, , deny",
            f'p, {role}, model-{number}, server{number % 40}__*, tool:call, "time.hour >= {number % 24}", allow',
        ]
    return links + rules[:POLICY_RULES]
