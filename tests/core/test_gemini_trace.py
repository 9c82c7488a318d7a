"""Gemini contents as loop detection sees them (rule 24)."""

from typing import Any

import pytest

from gateway.core.wire.exchange import Exchange, ToolUse
from gateway.core.wire.gemini_trace import answered, beginning, exchanges

Content = dict[str, Any]


def said(*words: str, role: str = "user") -> Content:
    return {"role": role, "parts": [{"text": word} for word in words]}


def called(*calls: Content) -> Content:
    return {"role": "model", "parts": [{"functionCall": call} for call in calls]}


def told(*answers: Content, role: str = "user") -> Content:
    return {"role": role, "parts": [{"functionResponse": answer} for answer in answers]}


LOOK = {"name": "look", "args": {"q": 1}}


@pytest.mark.parametrize(
    ("after", "uses"),
    [
        ([told({"name": "look", "response": {"output": "r"}})], [ToolUse("look", '{"q":1}', "r")]),
        ([told({"name": "look", "response": {"result": "r"}}, role="function")], [ToolUse("look", '{"q":1}', "r")]),
        ([told({"name": "look", "response": {"a": 1}})], [ToolUse("look", '{"q":1}', '{"a":1}')]),
        (
            [told({"name": "look", "response": {"error": "no"}})],
            [ToolUse("look", '{"q":1}', "no", says_failed=True)],
        ),
        ([], [ToolUse("look", '{"q":1}', None)]),
    ],
)
def test_a_call_finds_its_answer(after: list[Content], uses: list[ToolUse]) -> None:
    assert exchanges([said("go"), called(LOOK), *after], 0) == [Exchange("", tuple(uses), ())]


def test_answers_go_by_id_or_by_order() -> None:
    twice = called(LOOK, LOOK)
    by_order = told({"name": "look", "response": {"output": "1"}}, {"name": "look", "response": {"output": "2"}})
    assert [use.result for use in exchanges([twice, by_order], 0)[0].uses] == ["1", "2"]
    with_ids = called({**LOOK, "id": "a"}, {**LOOK, "id": "b"})
    by_id = told(
        {"id": "b", "name": "look", "response": {"output": "2"}},
        {"id": "a", "name": "look", "response": {"output": "1"}},
    )
    assert [use.result for use in exchanges([with_ids, by_id], 0)[0].uses] == ["1", "2"]


def test_rule_24_only_what_is_new_and_without_memory_the_last_answer_only() -> None:
    contents = [said("go"), said("one", role="model"), said("more"), said("two", role="model"), said("and", "on")]
    assert exchanges(contents, 0) == [Exchange("two", (), ("and\non",))]
    assert exchanges(contents, 1) == [Exchange("one", (), ("more",)), Exchange("two", (), ("and\non",))]
    assert (beginning(contents), answered(contents), answered(contents[:1])) == ("go", True, False)


def test_thoughts_are_not_what_the_model_said() -> None:
    thinking = {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "yes"}]}
    assert exchanges([said("go"), thinking], 0) == [Exchange("yes", (), ())]


def test_two_different_images_are_told_apart() -> None:
    images = [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]} for data in "ab"]
    model = said("seen", role="model")
    first, second = (exchanges([said("go"), model, image], 0)[0].said for image in images)
    assert first != second
