"""What rows mean, asked of the compiled snapshot and of Casbin alike."""

from datetime import datetime

import pytest

from gateway.core.condition_context import EMPTY_CONTEXT, PolicyContext
from gateway.policy.rows import MODEL_INVOKE, TOOL_CALL, TOOL_LIST
from tests.policy.policies import authority_of, rows_of, snapshot_of

ALICE = frozenset({"user:alice", "team:platform", "agent:reviewer"})
BOB = frozenset({"user:bob"})
POLICY = """\
g, user:alice, role:engineer
g, role:engineer, role:employee
g, agent:reviewer, role:production-agent
g2, gpt-5, group:premium
g2, claude-*, group:premium
g2, group:premium, group:all
g3, github__delete_repo, group:destructive
g3, files__*, group:files
p, role:employee, gpt-5-mini, *, model:invoke, , allow
p, team:platform, group:premium, -, model:invoke, , allow
p, team:platform, group:all, group:files, model:invoke, , allow
p, team:platform, *, github__*, tool:call, , allow
p, team:platform, *, files__read, tool:call, args.path == '/srv', allow
p, team:platform, *, files__read, tool:list, args.path == '/srv', allow
p, agent:reviewer, claude-*, group:destructive, tool:call, , deny
p, role:production-agent, *, files__write, tool:call, agent.environment != 'test', deny
p, role:employee, -, -, portal:*, , allow
p, role:employee, -, -, portal:keys, , deny
p, role:everyone, gpt-old, *, model:invoke, , deny
p, user:bob, gpt-old, *, model:invoke, , allow
p, user:bob, *, *, model:invoke, "time.hour >= 8 and time.hour < 18", allow
p, user:carol, *, *, tool:call, tool.server == 'github' and model.name == 'gpt-5', allow
p, user:dave, *, *, tool:call, , allow
p, user:dave, secret-model, shell__run, tool:call, , deny
"""
AT_NOON = PolicyContext(local_time=datetime(2026, 11, 24, 12))  # noqa: DTZ001 - in the zone of the policy
AT_NIGHT = PolicyContext(local_time=datetime(2026, 11, 24, 23))  # noqa: DTZ001 - in the zone of the policy
IN_TEST = PolicyContext(principal={"agent.environment": "test"})


@pytest.mark.parametrize(
    ("subjects", "model", "tool", "action", "context", "rule"),
    [
        pytest.param(ALICE, "gpt-5-mini", "-", MODEL_INVOKE, EMPTY_CONTEXT, 9, id="by a role of a role"),
        pytest.param(ALICE, "gpt-5-mini", "any__tool", MODEL_INVOKE, EMPTY_CONTEXT, 9, id="with any tool"),
        pytest.param(ALICE, "gpt-5", "-", MODEL_INVOKE, EMPTY_CONTEXT, 10, id="by a group of models"),
        pytest.param(ALICE, "claude-opus", "-", MODEL_INVOKE, EMPTY_CONTEXT, 10, id="by a prefix in a group"),
        pytest.param(ALICE, "claude-opus", "files__x", MODEL_INVOKE, EMPTY_CONTEXT, 11, id="a group in a group"),
        pytest.param(ALICE, "gpt-5", "github__x", MODEL_INVOKE, EMPTY_CONTEXT, None, id="no tool is not any tool"),
        pytest.param(ALICE, "gpt-5x", "-", MODEL_INVOKE, EMPTY_CONTEXT, None, id="an exact name is exact"),
        pytest.param(ALICE, "group:premium", "-", MODEL_INVOKE, EMPTY_CONTEXT, None, id="a group is no model"),
        pytest.param(ALICE, "GPT-5", "-", MODEL_INVOKE, EMPTY_CONTEXT, None, id="case counts"),
        pytest.param(ALICE, "gpt-5\n", "-", MODEL_INVOKE, EMPTY_CONTEXT, None, id="a newline counts"),
        pytest.param(BOB, "gpt-5-mini", "-", MODEL_INVOKE, EMPTY_CONTEXT, None, id="unknown time is no time"),
        pytest.param(BOB, "gpt-5-mini", "-", MODEL_INVOKE, AT_NOON, 21, id="in time"),
        pytest.param(BOB, "gpt-5-mini", "-", MODEL_INVOKE, AT_NIGHT, None, id="out of time"),
        pytest.param(BOB, "gpt-old", "-", MODEL_INVOKE, AT_NOON, -19, id="deny wins, for everyone"),
        pytest.param(frozenset(), "gpt-5-mini", "-", MODEL_INVOKE, EMPTY_CONTEXT, None, id="nobody"),
        pytest.param(
            frozenset({"role:engineer"}), "gpt-5-mini", "-", MODEL_INVOKE, EMPTY_CONTEXT, 9, id="a role itself"
        ),
        pytest.param(ALICE, "gpt-5", "github__search", TOOL_CALL, EMPTY_CONTEXT, 12, id="a tool by its prefix"),
        pytest.param(ALICE, "gpt-5", "github__delete_repo", TOOL_CALL, EMPTY_CONTEXT, 12, id="denied with claude only"),
        pytest.param(ALICE, "claude-x", "github__delete_repo", TOOL_CALL, EMPTY_CONTEXT, -15, id="denied with claude"),
        pytest.param(ALICE, "gpt-5", "files__read", TOOL_CALL, PolicyContext(args={"path": "/srv"}), 13, id="args"),
        pytest.param(
            ALICE, "gpt-5", "files__read", TOOL_CALL, PolicyContext(args={"path": "/etc"}), None, id="args no"
        ),
        pytest.param(ALICE, "gpt-5", "files__read", TOOL_CALL, PolicyContext(args={}), None, id="args missing"),
        pytest.param(ALICE, "gpt-5", "files__read", TOOL_LIST, EMPTY_CONTEXT, 14, id="args while listing"),
        pytest.param(ALICE, "m", "files__write", TOOL_CALL, IN_TEST, None, id="deny condition false"),
        pytest.param(ALICE, "m", "files__write", TOOL_CALL, EMPTY_CONTEXT, -16, id="deny condition unknown"),
        pytest.param(ALICE, "-", "-", "portal:usage", EMPTY_CONTEXT, 17, id="portal:* covers a portal action"),
        pytest.param(ALICE, "-", "-", "portal:keys", EMPTY_CONTEXT, -18, id="portal deny wins"),
        pytest.param(ALICE, "-", "-", "portal:*", EMPTY_CONTEXT, 17, id="portal:* itself"),
        pytest.param(ALICE, "gpt-5-mini", "-", "model:*", EMPTY_CONTEXT, None, id="no other action has a wildcard"),
        pytest.param(frozenset({"user:carol"}), "gpt-5", "github__x", TOOL_CALL, EMPTY_CONTEXT, 22, id="of the pair"),
        pytest.param(frozenset({"user:carol"}), "gpt-4", "github__x", TOOL_CALL, EMPTY_CONTEXT, None, id="of no pair"),
    ],
)
def test_rule_17_decision_and_deciding_row(subjects, model, tool, action, context, rule) -> None:
    """`rule` is the line of the deciding row, negative where it denies, None where nothing allows."""
    rows = rows_of(POLICY)
    decision = snapshot_of(POLICY).decide(subjects, model, tool, action, context)
    assert decision.allowed == (rule is not None and rule > 0)
    assert decision.rule == (f"policies/test.csv:{abs(rule)}" if rule else None)
    assert decision.policy_version == rows.version
    by_casbin = authority_of(rows).decide(subjects, model, tool, action, context)
    assert by_casbin.allowed == decision.allowed
    if rule is None or rule < 0:
        assert by_casbin == decision


def test_a_denial_by_default_says_so_without_naming_anybody() -> None:
    decision = snapshot_of(POLICY).decide(ALICE, "gpt-9", "github__x", MODEL_INVOKE, EMPTY_CONTEXT)
    refused = "no policy row allows this identity to use the model gpt-9 with the tool github__x"
    assert decision.reason == f"{refused}; what no row allows is denied"
    assert "alice" not in decision.reason


def test_names_that_a_client_chose_cannot_move_a_terminal_or_fill_a_log() -> None:
    decision = snapshot_of(POLICY).decide(ALICE, "\x1b[2J" + "m" * 5000, "t", MODEL_INVOKE, EMPTY_CONTEXT)
    assert "\x1b" not in decision.reason
    assert len(decision.reason) < 400


@pytest.mark.parametrize(
    ("tools", "denied"),
    [
        ((), ()),
        (("files__a", "files__b"), ()),
        (("files__a", "github__x", "shell__run"), ("github__x", "shell__run")),
    ],
)
def test_rule_18_every_declared_tool_must_be_allowed_with_the_model(tools, denied) -> None:
    for policy in (snapshot_of(POLICY), authority_of(rows_of(POLICY))):
        for _ in range(2):
            call = policy.decide_call(ALICE, "gpt-5", tools, EMPTY_CONTEXT)
            assert tuple(denial.tool for denial in call.denied) == denied
            assert call.allowed == (not denied)
            assert call.decision.allowed == call.allowed


DAVE = frozenset({"user:dave"})


def test_rule_20_without_a_model_only_star_allows_and_every_deny_row_matches() -> None:
    policy = "p, user:a, gpt-5, t, tool:call, , allow\np, user:b, *, t, tool:call, , allow\n"
    for decider in (snapshot_of(policy), authority_of(rows_of(policy))):
        assert not decider.decide(frozenset({"user:a"}), "-", "t", TOOL_CALL, EMPTY_CONTEXT).allowed
        assert decider.decide(frozenset({"user:b"}), "-", "t", TOOL_CALL, EMPTY_CONTEXT).allowed
    for decider in (snapshot_of(POLICY), authority_of(rows_of(POLICY))):
        assert decider.decide(DAVE, "gpt-5", "shell__run", TOOL_CALL, EMPTY_CONTEXT).allowed
        denied = decider.decide(DAVE, "-", "shell__run", TOOL_CALL, EMPTY_CONTEXT)
        assert (denied.allowed, denied.rule) == (False, "policies/test.csv:24")


def test_rule_21_rows_with_conditions_are_judged_anew_each_time() -> None:
    snapshot = snapshot_of(POLICY)
    seen = [snapshot.decide_call(BOB, "m", ("t",), context).allowed for context in (AT_NOON, AT_NIGHT, AT_NOON)]
    assert seen == [True, False, True]


def test_what_clients_ask_for_is_remembered_within_bounds() -> None:
    snapshot = snapshot_of(POLICY)
    for number in range(20_000):
        assert not snapshot.decide(ALICE, "gpt-5", f"tool-{number}", MODEL_INVOKE, EMPTY_CONTEXT).allowed
        assert not snapshot.decide_call(ALICE, f"m-{number}", ("t",), EMPTY_CONTEXT).allowed
    assert len(snapshot._matches._values) <= 8_192
    assert len(snapshot._calls._values) <= 512


def test_roles_of_is_the_closure() -> None:
    expected = ALICE | {"role:engineer", "role:employee", "role:production-agent", "role:everyone"}
    assert snapshot_of(POLICY).roles_of(ALICE) == expected
    assert authority_of(rows_of(POLICY)).roles_of(ALICE) == expected
