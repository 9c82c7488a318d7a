"""The compiled snapshot gives Casbin's answer, on any policy and any request."""

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.policy.agreement import disagreement, disagreements
from gateway.policy.findings import PolicyInvalid
from gateway.policy.question import Question
from gateway.policy.rows import Rows
from gateway.policy.snapshot import Snapshot
from tests.policy.policies import authority_of, rows_of, snapshot_of

PRINCIPALS = ("user:a", "user:b", "team:t", "agent:x", "key:k")
ROLES = ("role:r0", "role:r1", "role:r2", "team:t")
MODELS = ("gpt-5", "gpt-5-mini", "claude-opus", "o3")
TOOLS = ("github__search", "github__delete", "files__read", "builtin:web_search", "exec")
GROUPS = ("group:g0", "group:g1", "group:g2")
PATTERNS = ("gpt-*", "gpt-5*", "c*")
TOOL_PATTERNS = ("github__*", "builtin:*", "g*")
CONDITIONS = (
    "",
    "user.name == 'a'",
    "user.labels.level != 'low'",
    "'ops' in user.groups and not call.stream",
    "session.depth < 2 or time.hour >= 20",
    "time.weekday not in ['saturday', 'sunday']",
    'limit["day"].used_ratio < 0.5',
    "model.name == 'gpt-5' or tool.server == 'github'",
)
ARGS_CONDITIONS = (
    "args.path == '/srv'",
    "not args.force",
    "args.n > 1 and user.name == 'a'",
    "'x' in args.tags or call.stream",
)
EFFECTS = ("allow", "deny")


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if '"' in text or "," in text else text


@st.composite
def policies(draw: st.DrawFn) -> str:
    model_groups = draw(st.lists(st.sampled_from(GROUPS), unique=True, max_size=3).map(sorted))
    tool_groups = draw(st.lists(st.sampled_from(GROUPS), unique=True, max_size=3).map(sorted))
    roles = draw(st.lists(st.sampled_from(ROLES), unique=True, max_size=4).map(sorted))
    rows = []
    for kind, groups, names in (("g2", model_groups, MODELS + PATTERNS), ("g3", tool_groups, TOOLS + TOOL_PATTERNS)):
        for at, group in enumerate(groups):
            members = st.sampled_from([*names, *groups[:at]])
            rows += [f"{kind}, {member}, {group}" for member in draw(st.lists(members, min_size=1, max_size=3))]
    for at, role in enumerate(roles):
        members = st.sampled_from([each for each in (*PRINCIPALS, *roles[:at]) if not each.startswith("team:")])
        rows += [f"g, {member}, {role}" for member in draw(st.lists(members, min_size=1, max_size=3))]
    models = ("*", *MODELS, *PATTERNS, *model_groups)
    tools = ("*", *TOOLS, *TOOL_PATTERNS, *tool_groups)
    subjects = ("role:everyone", *PRINCIPALS, *roles)
    for action in ("model:invoke", "tool:call"):
        if draw(st.booleans()):  # where all is allowed, each denial shows
            rows.append(f"p, role:everyone, *, *, {action}, , allow")
    for _ in range(draw(st.integers(1, 12))):
        subject = draw(st.sampled_from(subjects))
        effect = draw(st.sampled_from(EFFECTS))
        action = draw(st.sampled_from(("model:invoke", "tool:call", "tool:list", "portal:*", "portal:keys")))
        model, tool, condition = "-", "-", draw(st.sampled_from(CONDITIONS))
        if action == "model:invoke":
            model, tool = draw(st.sampled_from(models)), draw(st.sampled_from(("-", *tools)))
        elif action.startswith("tool:"):
            model = draw(st.sampled_from(models if effect == "allow" else ("-", *models)))
            tool, condition = draw(st.sampled_from(tools)), draw(st.sampled_from(CONDITIONS + ARGS_CONDITIONS))
        rows.append(f"p, {subject}, {model}, {tool}, {action}, {quoted(condition)}, {effect}")
    return "\n".join(dict.fromkeys(rows)) + "\n"


@st.composite
def contexts(draw: st.DrawFn) -> PolicyContext:
    principal: dict[str, AttributeValue] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "user.name": st.sampled_from(["a", "b"]),
                "user.labels.level": st.sampled_from(["low", "high"]),
                "user.groups": st.sampled_from([("ops",), ()]),
            },
        )
    )
    call = draw(st.fixed_dictionaries({}, optional={"call.stream": st.booleans(), "session.depth": st.integers(0, 3)}))
    time = draw(st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)))  # noqa: DTZ001 - local by contract
    values = st.sampled_from(["/srv", "/etc", 1, 2, True, False, None, ["x"], [1]])
    args = draw(st.none() | st.dictionaries(st.sampled_from(["path", "force", "n", "tags"]), values))
    ratio = draw(st.sampled_from([None, 0.2, 0.9]))
    return PolicyContext(principal, call, time, args, lambda _name: ratio)


def name_for(pattern: str, names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Mostly a name that the pattern of a row means."""
    meant = [name for name in names if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))]
    others = st.sampled_from((*names, "-", "*", "gpt-*", "group:g0", "unknown"))
    return st.sampled_from(meant) | others if meant else st.sampled_from((*names, "-")) | others


@st.composite
def questions(draw: st.DrawFn, rows: Rows) -> Question:
    """About one of the rows, near enough that its fields decide."""
    rule = draw(st.sampled_from(rows.rules))
    members = [link.member for link in rows.links if link.group == rule.subject]
    subjects = {draw(st.sampled_from([*members, *members, rule.subject]))} if draw(st.booleans()) else set()
    subjects |= draw(st.sets(st.sampled_from((*PRINCIPALS, "user:stranger", "role:r1")), max_size=2))
    if rule.action.startswith("portal:"):
        action = draw(st.sampled_from((rule.action, "portal:keys", "portal:*", "portal:x")))
    else:
        action = draw(st.sampled_from((rule.action, rule.action, "model:invoke", "tool:call", "nothing")))
    model, tool = draw(name_for(rule.model, MODELS)), draw(name_for(rule.tool, TOOLS))
    if draw(st.integers(0, 3)) == 0:
        model = "-"
    return Question(frozenset(subjects), model, tool, action, draw(contexts()))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rows, list[Question]]:
    rows = rows_of(draw(policies()))
    return rows, draw(st.lists(questions(rows), min_size=1, max_size=12))


@settings(max_examples=300, deadline=None)
@given(cases())
def test_rule_17_the_snapshot_is_equal_to_casbin(case: tuple[Rows, list[Question]]) -> None:
    rows, asked = case
    snapshot, authority = Snapshot(rows), authority_of(rows)
    for question in asked:
        for _ in range(2):  # the second time from memory
            assert disagreement(snapshot, authority, question) is None
        tools = tuple(dict.fromkeys((question.tool, *TOOLS[:2])))
        about = (question.subjects, question.model, tools, question.context)
        of_snapshot, of_casbin = snapshot.decide_call(*about), authority.decide_call(*about)
        assert [denial.tool for denial in of_snapshot.denied] == [denial.tool for denial in of_casbin.denied]


@settings(max_examples=50, deadline=None)
@given(policies())
def test_sampled_decisions_of_a_load_agree(policy: str) -> None:
    rows = rows_of(policy)
    assert list(disagreements(Snapshot(rows), authority_of(rows), rows)) == []


def test_a_snapshot_that_differs_is_found_by_the_sample() -> None:
    rows = rows_of("p, user:a, gpt-5, -, model:invoke, , allow\np, role:everyone, o3, *, model:invoke, , deny\n")
    other = snapshot_of("p, user:b, gpt-5, -, model:invoke, , allow\n")
    found = list(disagreements(other, authority_of(rows), rows))
    assert found
    assert "Casbin says allow" in found[0].message


def chain(links: int) -> str:
    rows = [f"g, role:r{n}, role:r{n + 1}" for n in range(1, links)]
    return "\n".join(["g, user:a, role:r1", *rows, f"p, role:r{links}, m, -, model:invoke, , allow"]) + "\n"


def test_the_longest_chain_that_is_read_is_followed_by_casbin_too() -> None:
    rows = rows_of(chain(10))
    question = Question(frozenset({"user:a"}), "m", "-", "model:invoke", PolicyContext())
    assert disagreement(Snapshot(rows), authority_of(rows), question) is None
    assert authority_of(rows).enforce(question.subjects, "m", "-", "model:invoke", question.context)[0]
    with pytest.raises(PolicyInvalid, match="more than 10 links"):
        rows_of(chain(11))
