"""Messages as loop detection reads them: what is new, what belongs together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.exchange import Exchange, ToolUse
from gateway.core.wire.openai_trace import answered, beginning, exchanges

SYSTEM = {"role": "system", "content": "be good"}
TASK = {"role": "user", "content": "do it"}


def call(at: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": at, "type": "function", "function": {"name": name, "arguments": arguments}}


def asks(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(at: str, text: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": at, "content": text}


def says(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


ONE = [asks(call("1", "read")), result("1", "text")]
TWO = [asks(call("1", "read"), call("2", "list")), result("2", "names"), result("1", "text")]


@pytest.mark.parametrize(
    ("messages", "known", "found"),
    [
        ([SYSTEM, TASK], 0, []),
        ([SYSTEM, TASK, *ONE], 2, [Exchange("", (ToolUse("read", "{}", "text"),), ())]),
        ([TASK, *TWO], 1, [Exchange("", (ToolUse("read", "{}", "text"), ToolUse("list", "{}", "names")), ())]),
        ([TASK, *ONE, says("done"), TASK], 3, [Exchange("done", (), ("do it",))]),
        ([TASK, *ONE, says("done"), TASK], 0, [Exchange("done", (), ("do it",))]),
        ([TASK, asks(call("1", "read"))], 1, [Exchange("", (ToolUse("read", "{}", None),), ())]),
        (
            [TASK, *ONE, *ONE, TASK],
            1,
            [
                Exchange("", (ToolUse("read", "{}", "text"),), ()),
                Exchange("", (ToolUse("read", "{}", "text"),), ("do it",)),
            ],
        ),
        ([TASK, *ONE], 3, []),
        (
            [
                {"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}},
                {"role": "function", "name": "old", "content": "x"},
            ],
            0,
            [Exchange("", (ToolUse("old", "{}", "x"),), ())],
        ),
        (
            [asks(call("1", "read")), result("1", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])],
            0,
            [Exchange("", (ToolUse("read", "{}", "a\nb"),), ())],
        ),
    ],
)
def test_rule_24_only_what_is_new(messages: list[Any], known: int, found: list[Exchange]) -> None:
    assert exchanges(messages, known) == found


def test_pictures_are_told_apart_without_being_read() -> None:
    def seen(data: str) -> str | None:
        picture = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]
        return exchanges([asks(call("1", "look")), result("1", picture)], 0)[0].uses[0].result

    assert seen("A" * 50_000) != seen("A" * 50_001)
    assert len(seen("A" * 50_000) or "") < 200


def test_how_a_conversation_began() -> None:
    assert beginning([SYSTEM, TASK, says("x"), {"role": "user", "content": "more"}]) == "do it"
    assert beginning([SYSTEM]) == ""
    assert not answered([SYSTEM, TASK])
    assert answered([SYSTEM, TASK, says("x")])


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
messages_like = st.lists(
    values
    | st.fixed_dictionaries(
        {"role": st.sampled_from(["assistant", "tool", "user", "system"])},
        optional={"content": values, "tool_calls": values, "function_call": values, "tool_call_id": values},
    ),
    max_size=6,
)


@given(messages_like, st.integers(0, 7))
def test_no_message_is_an_error_of_ours(messages: list[Any], known: int) -> None:
    exchanges(messages, known)
    beginning(messages)
    answered(messages)
