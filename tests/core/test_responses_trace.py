"""Items of a Responses request as loop detection reads them: what is new, what belongs together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.exchange import Exchange, ToolUse
from gateway.core.wire.responses_trace import answered, beginning, exchanges

Item = dict[str, Any]
TASK = {"role": "user", "content": "do it"}
RULES = {"type": "message", "role": "developer", "content": "be good"}
THOUGHT = {"type": "reasoning", "summary": [], "encrypted_content": "x"}


def call(at: str, name: str, arguments: str = "{}", **more: object) -> Item:
    return {"type": "function_call", "call_id": at, "name": name, "arguments": arguments, **more}


def result(at: str, output: Any) -> Item:
    return {"type": "function_call_output", "call_id": at, "output": output}


def says(text: str) -> Item:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


ONE = [THOUGHT, call("1", "read"), result("1", "text")]
TWO = [call("1", "read"), call("2", "list"), result("2", "names"), result("1", "text")]
READ = Exchange("", (ToolUse("read", "{}", "text"),), ())


@pytest.mark.parametrize(
    ("items", "known", "found"),
    [
        ([RULES, TASK], 0, []),
        ([RULES, TASK, *ONE], 2, [READ]),
        ([RULES, TASK, *ONE], 0, [READ]),
        ([TASK, *TWO], 1, [Exchange("", (ToolUse("read", "{}", "text"), ToolUse("list", "{}", "names")), ())]),
        ([TASK, *ONE, says("done"), TASK], 4, [Exchange("done", (), ("do it",))]),
        ([TASK, *ONE, says("done"), TASK], 0, [Exchange("done", (), ("do it",))]),
        ([TASK, says("I look"), *ONE], 1, [READ]),  # words before a call belong to it
        ([TASK, call("1", "read")], 1, [Exchange("", (ToolUse("read", "{}", None),), ())]),
        ([TASK, *ONE, *ONE, TASK], 1, [READ, READ._replace(said=("do it",))]),
        ([TASK, *ONE, *ONE], 4, [READ]),
        (
            [TASK, call("1", "open", namespace="mcp__github__"), result("1", "ok")],
            1,
            [Exchange("", (ToolUse("mcp__github__open", "{}", "ok"),), ())],
        ),
        (
            [
                TASK,
                {"type": "custom_tool_call", "call_id": "1", "name": "apply_patch", "input": "*** Begin"},
                {"type": "custom_tool_call_output", "call_id": "1", "output": "Done"},
            ],
            1,
            [Exchange("", (ToolUse("apply_patch", "*** Begin", "Done"),), ())],
        ),
        (
            [
                TASK,
                {"type": "local_shell_call", "call_id": "1", "action": {"command": ["ls"]}},
                {"type": "local_shell_call_output", "call_id": "1", "output": "a b"},
            ],
            1,
            [Exchange("", (ToolUse("local_shell", '{"command": ["ls"]}', "a b"),), ())],
        ),
        (
            [
                {"type": "mcp_call", "server_label": "d", "name": "q", "arguments": "{}", "output": "ok"},
                {"type": "mcp_call", "server_label": "d", "name": "q", "arguments": "{}", "error": "gone"},
            ],
            0,
            [Exchange("", (ToolUse("d__q", "{}", "ok"), ToolUse("d__q", "{}", "gone", says_failed=True)), ())],
        ),
    ],
)
def test_rule_24_only_what_is_new_is_seen(items: list[Any], known: int, found: list[Exchange]) -> None:
    assert exchanges(items, known) == found


def test_results_that_are_no_text_are_told_apart() -> None:
    def output(image: str) -> str | None:
        items = [TASK, call("1", "look"), result("1", [{"type": "input_image", "image_url": image}])]
        return exchanges(items, 1)[0].uses[0].result

    assert output("data:,a") == output("data:,a")
    assert output("data:,a") != output("data:,b")


def test_how_a_conversation_began() -> None:
    assert beginning([RULES, TASK, *ONE, {"role": "user", "content": "later"}]) == "do it"
    assert beginning([RULES]) == ""
    assert not answered([RULES, TASK])
    assert answered([TASK, *ONE])
    assert answered([TASK, says("x")])


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.text(max_size=2),
            st.fixed_dictionaries(
                {},
                optional={
                    "type": st.sampled_from(
                        ["message", "function_call", "function_call_output", "reasoning", 5, "x_call"]
                    ),
                    "role": st.sampled_from(["user", "assistant", None]),
                    "name": st.sampled_from(["a", None]),
                    "content": st.one_of(st.none(), st.text(max_size=2), st.lists(st.integers(), max_size=2)),
                },
            ),
        ),
        max_size=8,
    ),
    st.integers(0, 9),
)
def test_whatever_stands_in_a_list_is_read(items: list[Any], known: int) -> None:
    exchanges(items, known)
    beginning(items)
    answered(items)
