"""Grants: what they add at a moment, and what can become of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.grant import Grant, Grants
from gateway.core.quota_request import QuotaRequest, RequestSettled, RequestState

ASKED = QuotaRequest(
    "req_1", "day", "user:alice", "usd", 5_000_000, 1_000, 10, "key_1", "", ("agent:bot", "team:a", "user:alice")
)


def grants() -> st.SearchStrategy[Grants]:
    edge = st.integers(0, 40)
    one = st.builds(
        lambda name, scope, amount, a, b: Grant("req", name, scope, amount, min(a, b), max(a, b)),
        st.sampled_from(["day", "week"]),
        st.sampled_from(["user:a", "user:b"]),
        st.integers(1, 9),
        edge,
        edge,
    )
    return st.builds(Grants, st.lists(one, max_size=6).map(tuple))


@given(grants(), st.integers(0, 45))
def test_what_grants_add_is_the_sum_of_those_in_force(given_now: Grants, now_us: int) -> None:
    found = given_now.at(now_us).amounts
    for at in {(grant.limit, grant.scope) for grant in given_now.grants}:
        in_force = [g for g in given_now.grants if (g.limit, g.scope) == at and g.from_us <= now_us < g.until_us]
        assert found.get(at, 0) == sum(grant.amount for grant in in_force)


@given(grants(), st.integers(0, 45))
def test_raises_are_the_same_exactly_as_long_as_they_say(given_now: Grants, now_us: int) -> None:
    found = given_now.at(now_us)
    assert found.hold_at(now_us)
    for other_us in range(46):
        if found.hold_at(other_us):
            assert given_now.at(other_us).amounts == found.amounts


def test_a_grant_ends_at_its_microsecond() -> None:
    raised = Grants((Grant("req", "day", "user:a", 7, 100, 200),))
    assert [raised.at(at_us).amounts.get(("day", "user:a"), 0) for at_us in (99, 100, 199, 200)] == [0, 7, 7, 0]


def test_a_request_is_decided_once() -> None:
    approved = ASKED.approved(3, 20, 900, "admin", 20, "")
    assert (approved.state, approved.granted, approved.ends_us) == (RequestState.APPROVED, 3, 900)
    for decided in (approved, ASKED.denied("admin", 20, ""), ASKED.withdrawn("caller", 20)):
        with pytest.raises(RequestSettled):
            decided.approved(3, 20, 900, "admin", 20, "")
        with pytest.raises(RequestSettled):
            decided.denied("admin", 20, "")


@pytest.mark.parametrize(("amount", "ends_us"), [(0, 900), (5_000_001, 900), (5, 20), (5, 10)])
def test_nobody_grants_nothing_or_more_than_asked_or_what_is_over(amount: int, ends_us: int) -> None:
    with pytest.raises(ValueError, match=r"grant|raise"):
        ASKED.approved(amount, 20, ends_us, "admin", 20, "")


def test_only_an_approved_request_is_a_grant() -> None:
    approved = ASKED.approved(3, 20, 900, "admin", 20, "")
    ended = (ASKED, ASKED.denied("admin", 20, ""), approved.withdrawn("admin", 30), approved.over(900))
    assert approved.grant == Grant("req_1", "day", "user:alice", 3, 20, 900)
    assert [request is not None and request.grant for request in ended] == [None] * 4


@pytest.mark.parametrize(
    ("now_us", "pending", "approved"),
    [(899, None, None), (900, None, RequestState.EXPIRED), (1_000, RequestState.LAPSED, RequestState.EXPIRED)],
)
def test_what_the_clock_ends(now_us: int, pending: RequestState | None, approved: RequestState | None) -> None:
    ends = [request.over(now_us) for request in (ASKED, ASKED.approved(3, 20, 900, "admin", 20, ""))]
    assert [None if end is None else end.state for end in ends] == [pending, approved]


@pytest.mark.parametrize(
    ("subjects", "own"),
    [({"user:alice"}, True), ({"agent:bot"}, True), ({"team:a"}, False), ({"user:carol"}, False), (set(), False)],
)
def test_who_shares_a_subject_other_than_the_team_is_the_asker(subjects: set[str], *, own: bool) -> None:
    assert ASKED.asked_by_any_of(frozenset(subjects)) is own
