"""Which calls a limit binds, on which counter, by how much; and whom a call is booked on."""

from dataclasses import replace
from itertools import permutations

import pytest

from gateway.core.attribution import OPENER, Attribution, attribute
from gateway.core.identity import Attributes, Directory, VirtualKey
from gateway.core.limit import Action, Limit, Mode, Unit
from gateway.core.window import parse

CALL = Attribution(
    key_id="key_1",
    key_name="ci",
    user="alice",
    team="platform",
    agent="reviewer",
    model="coder",
    model_tier="premium",
    provider="claude",
    environment="test",
    cost_center="CC-1",
    roles=("contractor", "developer"),
    labels=(("kind", "coding"),),
    tags=(("project", "x"),),
)
BARE = Attribution(key_id="key_2", key_name="plain")


def limit(**changes: object) -> Limit:
    return replace(Limit("l", Unit.TOKENS, 1_000, parse("day")), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "value", "binds"),
    [
        ("org", "org", True),
        ("team", "platform", True),
        ("team", "support", False),
        ("user", "alice", True),
        ("user", "-", False),
        ("end_user", "-", True),  # absent is a value too
        ("app", "-", True),
        ("agent", "reviewer", True),
        ("key", "ci", True),
        ("key", "key_1", False),
        ("session", "ses_1", True),
        ("session", "ses_2", False),
        ("model", "coder", True),
        ("model_tier", "premium", True),
        ("provider", "claude", True),
        ("tool", "-", True),
        ("role", "contractor", True),
        ("role", "admin", False),
        ("environment", "test", True),
        ("cost_center", "CC-1", True),
        ("label:kind", "coding", True),
        ("label:kind", "chat", False),
        ("label:size", "-", True),
        ("tag", "project=x", False),  # what a client says never loosens or tightens anything
    ],
)
def test_selectors(kind: str, value: str, *, binds: bool) -> None:
    assert limit(where=((kind, value),)).binds(CALL, "ses_1") is binds


def test_all_selectors_must_match() -> None:
    both = limit(where=(("team", "platform"), ("user", "bob")))
    assert not both.binds(CALL, "ses_1")
    assert limit().binds(BARE, "ses_1")


@pytest.mark.parametrize(
    ("each", "where", "scope", "scope_of_bare"),
    [
        (None, (), "org", "org"),
        (None, (("team", "platform"),), "team:platform", "team:platform"),
        (None, (("team", "platform"), ("model", "coder")), "team:platform,model:coder", None),
        ("user", (), "user:alice", "user:-"),
        ("team", (), "team:platform", "team:-"),
        ("app", (), "app:-", "app:-"),
        ("service", (), "service:-", "service:-"),
        ("agent", (), "agent:reviewer", "agent:-"),
        ("key", (), "key:ci", "key:plain"),
        ("session", (), "session:ses_1", "session:ses_1"),
        ("label:kind", (), "label:kind:coding", "label:kind:-"),
        ("role", (), "role:contractor,developer", "role:-"),
        (OPENER, (), "agent:reviewer", "key:plain"),
    ],
)
def test_rule_27_a_missing_principal_is_one_shared_counter(
    each: str | None, where: tuple[tuple[str, str], ...], scope: str, scope_of_bare: str | None
) -> None:
    counted = limit(each=each, where=where)
    assert counted.scope(CALL, "ses_1") == scope
    if scope_of_bare is not None:
        assert counted.scope(BARE, "ses_1") == scope_of_bare


OVERRIDES = (("session:ses_1", 1), ("key:ci", 2), ("agent:reviewer", 3), ("user:alice", 4), ("role:contractor", 5))


def test_rule_28_the_most_specific_override_wins_up_or_down() -> None:
    for order in permutations(OVERRIDES):
        assert limit(overrides=order).amount_for(CALL, "ses_1") == 1
    for number, more_specific in enumerate(OVERRIDES):
        left = limit(overrides=tuple(reversed(OVERRIDES[number:])))
        assert left.amount_for(CALL, "ses_1") == more_specific[1]


@pytest.mark.parametrize(
    ("overrides", "amount"),
    [
        ((), 1_000),
        ((("user:bob", 5),), 1_000),
        ((("user:alice", 5_000_000),), 5_000_000),
        ((("role:contractor", 7), ("role:developer", 8)), 7),  # equally specific: the first of the file
        ((("label:kind:coding", 9), ("org:org", 8)), 8),
        ((("label:kind:coding", 9),), 9),
        ((("user:-", 3),), 1_000),
    ],
)
def test_rule_28_overrides(overrides: tuple[tuple[str, int], ...], amount: int) -> None:
    assert limit(overrides=overrides).amount_for(CALL, "ses_1") == amount


@pytest.mark.parametrize(
    ("action", "mode", "hard"),
    [
        (Action.BLOCK, Mode.ENFORCE, True),
        (Action.PAUSE, Mode.ENFORCE, True),
        (Action.WARN, Mode.ENFORCE, False),
        (Action.BLOCK, Mode.OBSERVE, False),
        (Action.PAUSE, Mode.OBSERVE, False),
    ],
)
def test_rule_28_which_actions_refuse(action: Action, mode: Mode, *, hard: bool) -> None:
    assert limit(action=action, mode=mode).hard is hard


@pytest.mark.parametrize(
    ("each", "where", "kinds"),
    [
        (None, (), ()),
        ("user", (), ("user",)),
        ("session", (("team", "platform"),), ("team",)),
        ("user", (("user", "alice"), ("org", "org")), ("user",)),
        ("user", (("role", "contractor"), ("role", "developer")), ("role:contractor", "role:developer", "user")),
        ("role", (("label:kind", "coding"),), ("label:kind", "role")),
    ],
)
def test_kinds_that_a_counter_depends_on(
    each: str | None, where: tuple[tuple[str, str], ...], kinds: tuple[str, ...]
) -> None:
    assert limit(each=each, where=where).kinds() == kinds


def reversed_name(kind: str, name: str) -> str:
    return f"{kind}~{name[::-1]}"


def test_rule_12_personal_names_are_recorded_as_pseudonyms_only() -> None:
    recorded = CALL.recorded(reversed_name)
    text = str(recorded)
    assert [name for name in ("alice", "platform", "reviewer", "'ci'", "project") if name in text] == []
    assert ("key", "key_1") in recorded
    assert ("user", "user~ecila") in recorded
    assert ("model", "coder") in recorded
    assert ("label:kind", "coding") in recorded
    assert [pair for pair in recorded if pair[0] == "role"] == [("role", "contractor"), ("role", "developer")]
    assert ("tag", "tag~x=tcejorp") in recorded
    assert [kind for kind, _ in recorded if kind in ("org", OPENER, "end_user")] == []


def test_an_attribution_is_known_by_what_is_recorded() -> None:
    same = replace(CALL)
    assert same.identifier(reversed_name) == CALL.identifier(reversed_name)
    assert (same, hash(same)) == (CALL, hash(CALL))
    for change in ({"model": "other"}, {"tags": ()}, {"roles": ()}, {"labels": ()}, {"end_user": "eve"}):
        changed = replace(CALL, **change)
        assert changed != CALL
        assert changed.identifier(reversed_name) != CALL.identifier(reversed_name)


DIRECTORY = Directory(
    {
        "app": {"ci": Attributes(environment="production", labels={"kind": "app"})},
        "agent": {
            "reviewer": Attributes(environment="test", cost_center="CC-2", labels={"kind": "agent", "lang": "py"})
        },
        "team": {"platform": Attributes(cost_center="CC-100")},
        "user": {"alice": Attributes(labels={"seniority": "staff"})},
    }
)


@pytest.mark.parametrize(
    ("key", "environment", "cost_center", "labels"),
    [
        (VirtualKey("k", "n", "d"), "-", "-", ()),
        (VirtualKey("k", "n", "d", team="platform"), "-", "CC-100", ()),
        (
            VirtualKey("k", "n", "d", agent="reviewer", team="platform"),
            "test",
            "CC-2",
            (("kind", "agent"), ("lang", "py")),
        ),
        (
            VirtualKey("k", "n", "d", app="ci", agent="reviewer", user="alice"),
            "production",
            "CC-2",
            (("kind", "app"), ("lang", "py"), ("seniority", "staff")),
        ),
    ],
)
def test_declared_attributes_come_from_the_program_before_its_owner(
    key: VirtualKey, environment: str, cost_center: str, labels: tuple[tuple[str, str], ...]
) -> None:
    booked = attribute(key, DIRECTORY, model="coder", tags=(("environment", "other"),))
    assert (booked.environment, booked.cost_center, booked.labels) == (environment, cost_center, labels)
    assert booked.value("environment") == environment
