"""The ladder of prompt bounds: each step stays above the truth, and the delta only where it is one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.estimate import (
    REMEMBERED_TURNS,
    TOKENS_PER_MESSAGE,
    Prompt,
    TurnMemory,
    Weight,
    counted_bound,
    delta_bound,
    digest,
    token_factor,
)


def packed(messages: list[str]) -> bytes:
    return json.dumps(messages, separators=(",", ":")).encode()[:-1]


def prompt(messages: list[str], head: bytes = b"model and tools", *, padding: int = 0, images: int = 0) -> Prompt:
    """`padding` = bytes that the client's way of writing adds to the body."""
    data = packed(messages)
    constants = 3_000 * images
    return Prompt(
        head,
        data,
        digest(data),
        len(messages),
        Weight(len(data) + 50 + padding + constants, len(data) + constants, constants),
    )


def test_rule_2_the_next_turn_is_bound_by_the_real_usage_and_the_growth() -> None:
    memory = TurnMemory()
    first = prompt(["hello" * 100])
    memory.remember(first, input_tokens=110, output_tokens=7)
    second = prompt(["hello" * 100, "answer", "more"])
    turn = memory.previous(second)
    assert turn is not None
    assert turn.message_count == 1
    assert delta_bound(turn, second) == 110 + len(second.messages) - len(first.messages)


@pytest.mark.parametrize(
    "other",
    [
        prompt(["hello!", "more"]),  # an earlier message was changed
        prompt(["hell"]),  # it is shorter
        prompt(["hello", "more"], head=b"other tools"),
        prompt(["more", "hello"]),
        prompt([]),
    ],
)
def test_rule_2_the_delta_needs_an_identical_prefix(other: Prompt) -> None:
    memory = TurnMemory()
    memory.remember(prompt(["hello"]), 5, 5)
    assert memory.previous(other) is None


def test_rule_2_a_longer_last_message_is_no_prefix() -> None:
    memory = TurnMemory()
    memory.remember(prompt(["hello", "wor"]), 5, 5)
    assert memory.previous(prompt(["hello", "world"])) is None
    assert memory.previous(prompt(["hello", "wor", "ld"])) is not None


def test_rule_2_the_same_prompt_again_is_bound_by_its_usage() -> None:
    memory = TurnMemory()
    memory.remember(prompt(["hello"]), 5, 5)
    again = prompt(["hello"])
    turn = memory.previous(again)
    assert turn is not None
    assert delta_bound(turn, again) == 5


@given(
    paddings=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
    images=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    messages=st.lists(st.text(), min_size=1, max_size=6),
    added=st.lists(st.text(), max_size=4),
)
def test_rule_2_white_space_of_an_earlier_body_does_not_lower_the_bound(
    paddings: tuple[int, int], images: tuple[int, int], messages: list[str], added: list[str]
) -> None:
    """A client that writes its first body wide and its next one tight gets the same bound as one that does not."""
    memory = TurnMemory()
    first = prompt(messages, padding=paddings[0], images=images[0])
    memory.remember(first, 100, 1)
    second = prompt(messages + added, padding=paddings[1], images=images[0] + images[1])
    turn = memory.previous(second)
    assert turn is not None
    grown = len(packed(messages + added)) - len(packed(messages)) + 3_000 * images[1]
    assert delta_bound(turn, second) == 100 + grown


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=5), max_size=12), st.lists(st.sampled_from("ab"), max_size=6))
def test_rule_2_the_longest_remembered_turn_is_found(turns: list[list[str]], now: list[str]) -> None:
    memory = TurnMemory()
    kept: list[list[str]] = []
    for messages in turns:
        memory.remember(prompt(messages), len(messages), 1)
        kept = [*(each for each in kept if each != messages), messages][-REMEMBERED_TURNS:]
    fitting = [each for each in kept if now[: len(each)] == each and packed(now).startswith(packed(each))]
    turn = memory.previous(prompt(now))
    assert (None if turn is None else turn.message_count) == max(map(len, fitting), default=None)


def test_conversations_take_turns() -> None:
    """A session's sub-agents and title requests do not push each other out of memory at once."""
    memory = TurnMemory()
    for number in range(REMEMBERED_TURNS):
        memory.remember(prompt([f"agent {number}"]), number, 1)
    for number in range(REMEMBERED_TURNS):
        turn = memory.previous(prompt([f"agent {number}", "more"]))
        assert turn is not None
        assert turn.input_tokens == number


def test_usual_output_is_the_mean_of_the_last_eight_rounded_up() -> None:
    memory = TurnMemory()
    assert memory.usual_output_tokens == 0
    memory.remember(prompt(["hello"]), 5, 4)
    memory.saw_output(5)
    assert memory.usual_output_tokens == 5
    for _ in range(8):
        memory.saw_output(100)
    assert memory.usual_output_tokens == 100


@pytest.mark.parametrize(
    ("tokens", "factor", "messages", "constants", "bound"),
    [
        (0, 1.0, 0, 0, TOKENS_PER_MESSAGE),
        (100, 1.0, 1, 0, 100 + 2 * TOKENS_PER_MESSAGE),
        (101, 1.6, 1, 0, 162 + 2 * TOKENS_PER_MESSAGE),
        (100, 1.15, 3, 3_000, 115 + 4 * TOKENS_PER_MESSAGE + 3_000),
    ],
)
def test_rule_2_counting_scales_up_and_adds_what_is_not_inline(
    tokens: int, factor: float, messages: int, constants: int, bound: int
) -> None:
    assert counted_bound(tokens, factor, messages, constants) == bound


@pytest.mark.parametrize(
    ("model", "factor"),
    [
        ("gpt-5-mini", 1.0),
        ("openai/gpt-4.1", 1.0),
        ("chatgpt-4o-latest", 1.0),
        ("o1", 1.0),
        ("o3-mini", 1.0),
        ("azure/o4-mini", 1.0),
        ("claude-opus-5-5", 1.6),
        ("anthropic.claude-sonnet-5", 1.6),
        ("Gemini-3-flash", 1.15),
        ("tiny", 1.3),
        ("turbo1", 1.3),
        ("phi-nano3", 1.3),
        ("gpt-j-6b", 1.3),
        ("", 1.3),
    ],
)
def test_rule_2_the_factor_is_that_of_the_family(model: str, factor: float) -> None:
    assert token_factor(model) == factor
