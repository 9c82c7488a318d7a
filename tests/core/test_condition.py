"""The condition language: what it accepts, what it refuses and where, and its three-valued answers."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.condition import Condition, Outcome, compile_condition
from gateway.core.condition_context import EMPTY_CONTEXT, PolicyContext
from gateway.core.condition_tokens import CHARACTERS_MAX, ConditionInvalid

TRUE, FALSE, UNKNOWN = Outcome.TRUE, Outcome.FALSE, Outcome.UNKNOWN

CONTEXT = PolicyContext(
    principal={
        "user.name": "alice",
        "user.groups": ("engineering", "oncall"),
        "user.labels.seniority": "staff",
        "agent.environment": "production",
        "app.cost_center": 17,
    },
    call={
        "session.depth": 2,
        "session.age_s": 30.5,
        "model.tier": "premium",
        "call.stream": True,
        "call.tags.a b": "x",
    },
    local_time=datetime(2026, 11, 24, 22, 5),  # noqa: DTZ001 - already in the zone of the policy; a Tuesday
    args={
        "path": "/srv/a",
        "count": 3,
        "ratio": 0.5,
        "dry": True,
        "nested": {"deep key": "v"},
        "tags": ["a", "b"],
        "no": None,
    },
    limit_used_ratio={"session-tokens": 0.9}.get,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user.name == 'alice'", TRUE),
        ('user.name != "alice"', FALSE),
        ("'oncall' in user.groups", TRUE),
        ("'sales' in user.groups", FALSE),
        ("'sales' not in user.groups", TRUE),
        ("user.name in ['bob', 'alice']", TRUE),
        ("user.name not in ['bob']", TRUE),
        ("user.labels.seniority == 'staff'", TRUE),
        ("user.labels.unset == 'staff'", UNKNOWN),
        ("user.labels.unset != 'staff'", UNKNOWN),
        ("not user.labels.unset == 'staff'", UNKNOWN),
        ("agent.environment == user.name", FALSE),
        ("session.depth < 3 and session.depth >= 2", TRUE),
        ("session.depth <= 1 or session.depth > 2", FALSE),
        ("session.age_s > 30", TRUE),
        ("call.stream", TRUE),
        ("not call.stream", FALSE),
        ("call.stream == false", FALSE),
        ("call.tags['a b'] == 'x'", TRUE),
        ("time.hour >= 22 and time.minute == 5", TRUE),
        ("time.weekday == 'tuesday'", TRUE),
        ("time.weekday in ['saturday', 'sunday']", FALSE),
        ("time.date >= '2026-11-24' and time.date < '2026-12-01'", TRUE),
        ('limit["session-tokens"].used_ratio >= 0.8', TRUE),
        ('limit["other"].used_ratio >= 0.8', UNKNOWN),
        ("args.path == '/srv/a'", TRUE),
        ("args.path == 3", UNKNOWN),
        ("args.count > 2", TRUE),
        ("args.count > 2.5", TRUE),
        ("args.count == '3'", UNKNOWN),
        ("args.ratio == 0.5", TRUE),
        ("args.dry", TRUE),
        ("args.path", UNKNOWN),
        ("args.dry == 1", UNKNOWN),
        ("args.nested['deep key'] == 'v'", TRUE),
        ("args.path.deeper == 'v'", UNKNOWN),
        ("args.no == 'v'", UNKNOWN),
        ("'a' in args.tags", TRUE),
        ("'z' in args.tags", FALSE),
        ("1 in args.tags", UNKNOWN),
        ("'a' in args.path", UNKNOWN),
        ("args.path < args.path", UNKNOWN),
        ("args.tags == 'a'", UNKNOWN),
        ("app.cost_center == 'CC-1'", UNKNOWN),
        ("user.labels.unset == 'x' and user.name == 'bob'", FALSE),
        ("user.labels.unset == 'x' or user.name == 'alice'", TRUE),
        ("user.name == 'bob' or user.name == 'alice' and call.stream", TRUE),
        ("(user.name == 'bob' or user.name == 'alice') and not call.stream", FALSE),
        ("user.name == 'it\\'s'", FALSE),
        ("user.name == 'a && b || ! r.sub'", FALSE),
    ],
)
def test_outcome(text: str, expected: Outcome) -> None:
    assert compile_condition(text).outcome(CONTEXT) is expected


@pytest.mark.parametrize(
    ("text", "offset", "part"),
    [
        ("user.nme == 'a'", 0, "unknown attribute user.nme"),
        ("user.name == 'a' and team.size > 3", 21, "unknown attribute team.size"),
        ("user.name = 'a'", 10, "= is not part"),
        ("user.name == 'a' && call.stream", 17, "&& is not part"),
        ("!call.stream", 0, "! is not part"),
        ("user.name == 3", 13, "cannot be compared"),
        ("user.name < 'b'", 10, "numbers and dates only"),
        ("session.depth == '1'", 17, "cannot be compared"),
        ("call.stream > false", 12, "numbers and dates only"),
        ("user.name", 0, "not a condition"),
        ("true", 0, "a value alone"),
        ("call.stream or true", 15, "a value alone"),
        ("1 == 1", 0, "two constants"),
        ("user.groups == ['a']", 0, "a list cannot be compared"),
        ("user.name == ['a']", 13, "a list cannot be compared"),
        ("user.groups in ['a']", 0, "no item of a list"),
        ("user.name in 'alice'", 13, "a list belongs"),
        ("user.name in ['a', 1]", 19, "values of one type"),
        ("user.name in []", 14, "not expected"),
        ("session.depth in ['a']", 17, "cannot be compared"),
        ("1 < session.depth < 3", 18, "cannot be chained"),
        ("user.name.startswith('a')", 20, "there are no functions"),
        ("exit()", 4, "there are no functions"),
        ("user.__class__ == 'a'", 0, "unknown attribute"),
        ("time.weekday == 'Monday'", 16, "no weekday"),
        ("time.date == '2026-02-30'", 13, "no date"),
        ("time.date == 'soon'", 13, "no date"),
        ("user.name == 'a", 13, "not closed"),
        ("(call.stream", 12, "not closed"),
        ("call.stream)", 11, "not expected"),
        ("user.name == 'a' user.name == 'b'", 17, "not expected"),
        ("user.name ==", 12, "ends too early"),
        ("user.name == 'a' AND call.stream", 17, "not expected"),
        ("user.name == None", 13, "not part of the language"),
        ("user.name =~ 'a.*'", 10, "=~ is not part"),
        ("session.depth > 2 ** 9", 18, "stray"),
        ("session.depth > 4000000**4000000", 23, "stray"),
        ("session.depth > 1e9", 16, "neither a number"),
        ("session.depth > 1234567890123456", 16, "too long"),
        ("user.name == 'a\x00'", 15, "control character"),
        ("user.name == 'a\\n'", 15, "unknown escape"),
        ("args == 'a'", 0, "unknown attribute args"),
        ("limit.x == 1", 0, "unknown attribute limit.x"),
        ("limit[x].used_ratio > 1", 6, "only a quoted name"),
        ("user.labels == 'a'", 0, "unknown attribute"),
        ("user.\tname == 'a'", 5, "stray character"),
        ("", 0, "ends too early"),
        ("user.name == 'é' ∧ call.stream", 17, "stray character"),
        ("(" * 40 + "call.stream" + ")" * 40, 32, "nested too deeply"),
        ("not " * 40 + "call.stream", 128, "nested too deeply"),
        ("user.name == '" + "a" * CHARACTERS_MAX + "'", 0, "longer than"),
    ],
)
def test_refused_with_the_place_and_a_fix(text: str, offset: int, part: str) -> None:
    with pytest.raises(ConditionInvalid) as refusal:
        compile_condition(text)
    assert part in refusal.value.message
    assert refusal.value.offset == offset
    assert refusal.value.fix


@pytest.mark.parametrize(
    ("text", "allow", "deny"),
    [("user.name == 'alice'", True, True), ("user.name == 'bob'", False, False), ("key.name == 'k'", False, True)],
)
def test_rule_21_unknown_at_the_top_is_false_for_allow_and_true_for_deny(text: str, allow: bool, deny: bool) -> None:
    condition = compile_condition(text)
    assert (condition.holds_for_allow(CONTEXT), condition.holds_for_deny(CONTEXT)) == (allow, deny)


@pytest.mark.parametrize(
    ("text", "allow", "deny"),
    [
        ("args.path == 'x'", True, False),
        ("not args.path == 'x'", True, False),
        ("args.path == 'x' and user.name == 'alice'", True, False),
        ("args.path == 'x' and user.name == 'bob'", False, False),
        ("args.path == 'x' or user.name == 'alice'", True, True),
        ("args.path == 'x' and key.name == 'k'", False, False),
        ("args.path == 'x' or key.name == 'k'", True, True),
        ("key.name == 'k'", False, True),
        ("not (args.path == 'x' and user.name == 'bob')", True, True),
    ],
)
def test_rule_21_listing_takes_unknown_arguments_as_they_let_the_tool_show(text: str, allow: bool, deny: bool) -> None:
    condition = compile_condition(text)
    listing = PolicyContext(principal=CONTEXT.principal, call=CONTEXT.call)
    assert condition.holds_for_allow(listing, listing=True) is allow
    assert condition.holds_for_deny(listing, listing=True) is deny


def test_names_the_unknown_attributes_once_in_order() -> None:
    condition = compile_condition("key.name == 'a' or args.x == 1 or user.name == 'a' or key.name == 'b'")
    assert condition.unknown_attributes(CONTEXT) == ("key.name", "args.x")
    assert condition.reads_args


def test_limits_are_read_only_where_a_condition_reads_them() -> None:
    asked: list[str] = []

    def used_ratio(name: str) -> float | None:
        asked.append(name)
        return 0.5

    context = PolicyContext(principal={"user.name": "alice"}, limit_used_ratio=used_ratio)
    assert compile_condition("user.name == 'bob' and limit['x'].used_ratio < 1").outcome(context) is FALSE
    assert asked == []
    assert compile_condition("limit['x'].used_ratio < 1").outcome(context) is TRUE
    assert asked == ["x"]


def test_a_number_that_is_none_is_unknown() -> None:
    context = PolicyContext(args={"x": float("nan")}, limit_used_ratio=lambda _name: float("inf"))
    assert compile_condition("args.x != 1").outcome(context) is UNKNOWN
    assert compile_condition("limit['x'].used_ratio < 1").outcome(context) is UNKNOWN


@given(st.text(max_size=60))
def test_any_text_is_compiled_or_refused_within_itself(text: str) -> None:
    offsets: list[int] = []
    try:
        outcomes = [compile_condition(text).outcome(EMPTY_CONTEXT)]
    except ConditionInvalid as refusal:
        outcomes = []
        offsets.append(refusal.offset)
    assert all(0 <= offset <= len(text) for offset in offsets)
    assert len(outcomes) + len(offsets) == 1


ATOMS = {"user.name == 'a'": TRUE, "user.name == 'b'": FALSE, "key.name == 'a'": UNKNOWN}
KLEENE = PolicyContext(principal={"user.name": "a"})


def terms() -> st.SearchStrategy[tuple[str, int]]:
    def combine(inner: st.SearchStrategy[tuple[str, int]]) -> st.SearchStrategy[tuple[str, int]]:
        pairs = st.tuples(inner, inner)
        return st.one_of(
            inner.map(lambda t: (f"not ({t[0]})", 2 - t[1])),
            pairs.map(lambda p: (f"({p[0][0]}) and ({p[1][0]})", min(p[0][1], p[1][1]))),
            pairs.map(lambda p: (f"({p[0][0]}) or ({p[1][0]})", max(p[0][1], p[1][1]))),
        )

    return st.recursive(
        st.sampled_from(sorted((text, int(value)) for text, value in ATOMS.items())), combine, max_leaves=8
    )


@given(terms())
def test_and_or_not_are_those_of_kleene(term: tuple[str, int]) -> None:
    condition: Condition = compile_condition(term[0])
    assert condition.evaluate(KLEENE) == term[1]


@given(terms(), st.sampled_from(["args.x == 1", "not args.x == 1"]), st.sampled_from(["and", "or"]), st.integers(0, 2))
def test_rule_21_listing_never_hides_a_tool_that_some_arguments_could_call(
    term: tuple[str, int], leaf: str, word: str, value: int
) -> None:
    condition = compile_condition(f"({term[0]}) {word} {leaf}")
    call = PolicyContext(principal=KLEENE.principal, args={"x": value})
    if condition.holds_for_allow(call):
        assert condition.holds_for_allow(KLEENE, listing=True)
    if condition.holds_for_deny(KLEENE, listing=True):
        assert condition.holds_for_deny(call)
