"""Runaway agents are counted as the rules say, and retries, twins and failures are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.loop import FORGETS_AFTER_US, LoopMemory, LoopRules, Repetition

RULES = LoopRules(identical_requests=5, identical_tool_calls=6)
NOW_US = 1_795_521_600_000_000
SECOND_US = 1_000_000
A, B, C = b"a", b"b", b"c"


class Caller:
    """A session's calls, one second apart."""

    def __init__(self, rules: LoopRules = RULES) -> None:
        self.memory = LoopMemory()
        self.rules = rules
        self.now_us = NOW_US

    def sends(self, digest: bytes) -> Repetition | None:
        self.now_us += SECOND_US
        return self.memory.judge_request(digest, self.now_us, self.rules)

    def succeeds(self, digest: bytes) -> Repetition | None:
        found = self.sends(digest)
        self.memory.answered(digest, self.now_us)
        return found

    def fails(self, digest: bytes) -> Repetition | None:
        found = self.sends(digest)
        self.memory.withdraw(digest)
        return found


def counts(found: Repetition | None) -> tuple[int, bool] | None:
    return None if found is None else (found.count, found.act)


def test_rule_23_warns_at_three_and_acts_at_the_configured_number() -> None:
    caller = Caller()
    assert [counts(caller.succeeds(A)) for _ in range(6)] == [None, None, (3, False), (4, False), (5, True), (6, True)]


def test_rule_23_only_consecutive_requests_count() -> None:
    caller = Caller()
    assert [counts(caller.succeeds(digest)) for digest in (A, A, B, A, A)] == [None] * 5
    assert counts(caller.succeeds(A)) == (3, False)


def test_rule_23_a_number_of_zero_switches_it_off() -> None:
    caller = Caller(LoopRules(identical_requests=0))
    assert [caller.succeeds(A) for _ in range(9)] == [None] * 9


@pytest.mark.parametrize(
    "story",
    [
        "refused first, then sent again",
        "every second one fails",
        "each with a parallel twin that fails",
        "each with a parallel twin that succeeds",
        "each after one that broke off",
        "another request was refused in between",
    ],
)
def test_rule_23_twins_failures_and_retries_never_count(story: str) -> None:
    caller = Caller()
    seen = []
    for _ in range(5):
        if story in ("refused first, then sent again", "every second one fails"):
            assert counts(caller.fails(A)) == counts(caller.succeeds(A))
        elif story == "each with a parallel twin that fails":
            caller.sends(A)
            assert caller.sends(A) is None
            caller.memory.withdraw(A)
            caller.memory.answered(A, caller.now_us)
        elif story == "each with a parallel twin that succeeds":
            caller.sends(A)
            assert caller.sends(A) is None
            caller.memory.answered(A, caller.now_us)
            caller.memory.answered(A, caller.now_us)
        elif story == "each after one that broke off":
            caller.sends(A)  # never answered, never withdrawn: the client left
            caller.succeeds(A)
        else:
            caller.succeeds(A)
            caller.fails(B)
        seen.append(caller.memory.request.count)
    assert seen == [1, 2, 3, 4, 5]


def test_rule_23_of_twins_that_both_fail_none_counts() -> None:
    caller = Caller()
    caller.succeeds(A)
    for _ in range(20):
        caller.sends(A)
        caller.sends(A)
        caller.memory.withdraw(A)
        caller.memory.withdraw(A)
    assert caller.memory.request.count == 1


@pytest.mark.parametrize(("pause_us", "count"), [(FORGETS_AFTER_US, 3), (FORGETS_AFTER_US + 1, 1)])
def test_rule_23_after_ten_minutes_it_is_forgotten(pause_us: int, count: int) -> None:
    memory = LoopMemory()
    for _ in range(2):
        memory.judge_request(A, NOW_US, RULES)
        memory.answered(A, NOW_US)
    memory.judge_request(A, NOW_US + pause_us, RULES)
    assert memory.request.count == count


actions = st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from(["ok", "fail", "cut", "twin"])), max_size=40)


@given(story=actions)
def test_rule_23_the_count_is_that_of_equal_successes_in_a_row(story: list[tuple[bytes, str]]) -> None:
    """Never more than the successful answers to the last request in a row, refused and failed ones left out."""
    caller = Caller()
    run: tuple[bytes, int] = (b"", 0)
    for digest, how in story:
        if how == "fail":
            caller.fails(digest)
            continue
        if how == "cut":
            caller.sends(digest)
            if digest != run[0]:
                run = (digest, 0)
            continue
        caller.sends(digest)
        if how == "twin":
            caller.sends(digest)
            caller.memory.withdraw(digest)
        caller.memory.answered(digest, caller.now_us)
        run = (digest, run[1] + 1 if digest == run[0] else 1)
        assert caller.memory.request.count <= run[1]
        if all(kind in ("ok", "fail", "twin") for _, kind in story):
            assert caller.memory.request.count == run[1]


def test_rule_24_model_and_mcp_sightings_are_not_added_up() -> None:
    memory = LoopMemory()
    found = []
    for number in range(4):
        memory.judge_request(bytes([number]), NOW_US, RULES)
        found += [memory.judge_model_tools([C], RULES), memory.judge_mcp_tool(C, RULES)]
    assert [counts(each) for each in found] == [None] * 4 + [(3, False)] * 2 + [(4, False)] * 2


def test_rule_24_tool_calls_of_one_message_count_each() -> None:
    memory = LoopMemory()
    assert counts(memory.judge_model_tools([C] * 6, RULES)) == (6, True)
    assert memory.judge_model_tools([A, B], RULES) is None
    assert memory.judge_model_tools([], RULES) is None


def test_rule_24_a_request_sent_again_has_no_new_tool_calls() -> None:
    """An SDK that retries, or an agent while its provider is down, does not run in circles."""
    memory = LoopMemory()
    for _ in range(10):
        memory.judge_request(A, NOW_US, RULES)
        found = memory.judge_model_tools([C], RULES)
        memory.withdraw(A)
        assert found is None


def test_after_a_person_resumed_counting_starts_anew() -> None:
    caller = Caller()
    for _ in range(4):
        caller.succeeds(A)
        caller.memory.judge_mcp_tool(C, RULES)
    caller.memory.forgive()
    assert caller.succeeds(A) is None
    assert caller.memory.judge_mcp_tool(C, RULES) is None
    assert caller.memory.request.count == 1


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("identical_requests", "the same request 5 times in a row"),
        ("identical_tool_calls", "the same tool call with the same arguments 5 times in a row"),
    ],
)
def test_words(kind: str, words: str) -> None:
    assert Repetition(kind, 5, act=True).words() == words
