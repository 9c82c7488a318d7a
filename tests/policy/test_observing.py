"""Deny rows in files `*.observe.csv`: judged and recorded, never in force."""

from pathlib import Path

import pytest

from gateway.core.condition_context import EMPTY_CONTEXT, PolicyContext
from gateway.policy.engine import CASBIN, COMPILED, PolicyEngine, check, load_policy
from gateway.policy.findings import PolicyInvalid
from gateway.policy.source import PolicySource
from tests.policy.policies import write_policy

ROWS = """\
p, role:everyone, *, *, model:invoke, , allow
p, role:everyone, *, *, tool:call, , allow
g, user:bob, role:contractor
g2, gpt-5, group:dear
"""
OBSERVED = """\
# planned for December
p, role:contractor, group:dear, *, model:invoke, , deny
p, role:everyone, *, files__delete, tool:call, args.path == '/srv', deny
"""
BOB, ALICE = frozenset({"user:bob"}), frozenset({"user:alice"})
FILE = "policies/20-plan.observe.csv"


def written(root: Path, observed: str = OBSERVED) -> PolicySource:
    source = write_policy(root, ROWS)
    (root / FILE).write_text(observed)
    return source


async def engine_of(root: Path, engine: str = COMPILED) -> PolicyEngine:
    return await PolicyEngine.load(written(root), engine=engine, now_us=lambda: 1)


@pytest.mark.parametrize("engine", [COMPILED, CASBIN])
async def test_a_row_that_observes_denies_nothing_and_is_named(tmp_path: Path, engine: str) -> None:
    policy = await engine_of(tmp_path, engine)
    judged = policy.decide_call(BOB, "gpt-5", ("github__search", "files__read"), EMPTY_CONTEXT)
    assert judged.allowed
    assert judged.would_deny == (f"{FILE}:2",)
    for subjects, model in ((ALICE, "gpt-5"), (BOB, "gpt-mini")):
        assert policy.decide_call(subjects, model, (), EMPTY_CONTEXT).would_deny == ()


@pytest.mark.parametrize("engine", [COMPILED, CASBIN])
@pytest.mark.parametrize("models", [(), ("gpt-5",), ("gpt-5", "gpt-mini")])
async def test_tool_calls_are_observed_with_their_conditions(
    tmp_path: Path, engine: str, models: tuple[str, ...]
) -> None:
    policy = await engine_of(tmp_path, engine)
    seen = [
        policy.decide_tool_call(ALICE, models, "files__delete", PolicyContext(args={"path": path})).would_deny
        for path in ("/srv", "/tmp")
    ]
    assert seen == [(f"{FILE}:3",), ()]
    # An argument that is not known is no reason to let a deny row off (rule 21).
    assert policy.decide_tool_call(ALICE, models, "files__delete", PolicyContext(args={})).would_deny == (f"{FILE}:3",)
    assert policy.lists_tool(ALICE, models, "files__delete", EMPTY_CONTEXT).would_deny == ()


async def test_what_is_denied_anyway_is_no_observation(tmp_path: Path) -> None:
    source = written(tmp_path)
    (tmp_path / "policies" / "30-more.csv").write_text("p, user:bob, gpt-5, *, model:invoke, , deny\n")
    policy = await PolicyEngine.load(source, now_us=lambda: 1)
    judged = policy.decide_call(BOB, "gpt-5", (), EMPTY_CONTEXT)
    assert (judged.allowed, judged.decision.rule, judged.would_deny) == (False, "policies/30-more.csv:1", ())


async def test_a_reload_takes_observed_rows_up_and_lets_them_go(tmp_path: Path) -> None:
    policy = await engine_of(tmp_path)
    version = policy.version
    (tmp_path / FILE).unlink()
    assert await policy.reload() == ()
    assert policy.version != version
    assert policy.decide_call(BOB, "gpt-5", (), EMPTY_CONTEXT).would_deny == ()


async def test_explain_shows_rows_that_observe(tmp_path: Path) -> None:
    policy = await engine_of(tmp_path)
    lines = policy.explain(BOB, "gpt-5", "-", "model:invoke", EMPTY_CONTEXT).lines()
    assert lines[0].startswith("ALLOW")
    (row,) = [line for line in lines if FILE in line]
    assert row.endswith("(no condition), would deny")


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ("p, user:bob, gpt-5, *, model:invoke, , allow", 40, "an allow row observes nothing"),
        ("p, user:bob, *, *, tool:list, , deny", 20, "this action is not observed"),
        ("g, user:carl, role:contractor", 1, "a g row holds for all files and cannot only observe"),
        ("p, role:nobody, *, *, model:invoke, , deny", 1, "role"),
    ],
)
def test_what_cannot_observe_is_refused_with_its_place(tmp_path: Path, row: str, column: int, message: str) -> None:
    (finding,) = check(written(tmp_path, f"{row}\n"))
    assert (finding.path, finding.line, finding.column) == (FILE, 1, column)
    assert message in finding.message


def test_rows_that_only_observe_are_no_policy(tmp_path: Path) -> None:
    source = written(tmp_path)
    (tmp_path / "policies" / "10-team.csv").unlink()
    with pytest.raises(PolicyInvalid):
        load_policy(source)
