"""A decision that is kept for a caller is the one that every call of it would get; what looks at more is never kept."""

from collections.abc import Mapping
from datetime import datetime

import pytest

from gateway.core.condition_context import AttributeValue, PolicyContext
from tests.policy.policies import MODEL_CONF, authority_of, rows_of, snapshot_of

SUBJECTS = frozenset({"user:alice", "agent:reviewer"})
PRINCIPAL: Mapping[str, AttributeValue] = {"user.name": "alice", "user.groups": ("staff",), "agent.environment": "test"}
CONTEXTS = [
    PolicyContext(PRINCIPAL, {"session.depth": depth, "call.stream": stream}, datetime(2026, 11, 24, hour))  # noqa: DTZ001 - in the zone of the policy
    for depth in (0, 3)
    for stream in (False, True)
    for hour in (3, 12)
]
ALLOW = "p, user:alice, gpt-5, *, model:invoke, , allow\n"
STANDING: Mapping[str, str] = {
    "no condition": "",
    "who calls": "p, agent:reviewer, *, *, model:invoke, agent.environment == 'production', deny\n",
    "who calls, and it denies": "p, agent:reviewer, *, *, model:invoke, agent.environment == 'test', deny\n",
    "an unknown of who calls denies": "p, user:alice, *, *, model:invoke, app.name == 'ci', deny\n",
    "the pair": "p, user:alice, *, *, model:invoke, model.name == 'other' or tool.name == 'shell__run', deny\n",
    "a list": "p, user:alice, *, *, model:invoke, 'guests' in user.groups, deny\n",
}
CHANGING = (
    "time.hour > 8",
    "session.depth > 1",
    "call.stream",
    'limit["day"].used_ratio > 0.9',
    "agent.environment == 'production' and time.hour > 8",
)


@pytest.mark.parametrize("tools", [(), ("shell__run",), ("files__read", "shell__run")])
@pytest.mark.parametrize("rows", STANDING.values(), ids=STANDING.keys())
def test_rule_21_what_stands_is_what_each_call_is_told(rows: str, tools: tuple[str, ...]) -> None:
    snapshot = snapshot_of(rows + ALLOW)
    kept = snapshot.standing_decision(SUBJECTS, "gpt-5", tools, PRINCIPAL)
    assert kept is not None
    assert all(snapshot.decide_call(SUBJECTS, "gpt-5", tools, context) == kept for context in CONTEXTS)


@pytest.mark.parametrize(
    ("condition", "effect"),
    [*((each, effect) for each in CHANGING for effect in ("allow", "deny")), ("call.tags.stage == 'x'", "deny")],
)
def test_rule_21_what_looks_at_the_call_is_never_kept(condition: str, effect: str) -> None:
    quoted = condition.replace('"', '""')
    snapshot = snapshot_of(f'p, user:alice, gpt-5, *, model:invoke, "{quoted}", {effect}\n' + ALLOW)
    assert snapshot.standing_decision(SUBJECTS, "gpt-5", (), PRINCIPAL) is None
    assert snapshot.standing_decision(SUBJECTS, "other", (), PRINCIPAL) is not None, "no such row matches"


def test_a_foreign_matcher_keeps_nothing() -> None:
    authority = authority_of(rows_of(ALLOW), MODEL_CONF)
    assert authority.standing_decision(SUBJECTS, "gpt-5", (), PRINCIPAL) is None
