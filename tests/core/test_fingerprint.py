"""Rule 13: which conversation a call without a mark goes on with, in each wire format."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from gateway.core.fingerprint import NOWHERE, fingerprint_of, reached
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import ANTHROPIC_MESSAGES, BEDROCK_CONVERSE, GEMINI, OPENAI_CHAT, OPENAI_RESPONSES

KEY = b"k" * 16
CLI = {"user-agent": "GeminiCLI/0.61.0/gemini-3-pro (linux; x64)"}
TURNS = ("hello", "hi", "do it", "done")


def chat(system: str, *turns: str) -> dict[str, Any]:
    said = [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(turns)]
    return {"messages": [{"role": "system", "content": system}, *said]}


def responses(system: str, *turns: str) -> dict[str, Any]:
    return {
        "instructions": system,
        "input": [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(turns)],
    }


def messages(system: str, *turns: str) -> dict[str, Any]:
    said = [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(turns)]
    return {"system": [{"type": "text", "text": system}], "messages": said}


def gemini(system: str, *turns: str) -> dict[str, Any]:
    said = [{"role": "model" if at % 2 else "user", "parts": [{"text": text}]} for at, text in enumerate(turns)]
    return {"systemInstruction": {"parts": [{"text": system}]}, "contents": said}


def converse(system: str, *turns: str) -> dict[str, Any]:
    said = [{"role": "assistant" if at % 2 else "user", "content": [{"text": text}]} for at, text in enumerate(turns)]
    return {"system": [{"text": system}], "messages": said}


FORMATS = [
    pytest.param(OPENAI_CHAT, chat, id="chat"),
    pytest.param(OPENAI_RESPONSES, responses, id="responses"),
    pytest.param(ANTHROPIC_MESSAGES, messages, id="messages"),
    pytest.param(GEMINI, gemini, id="gemini"),
    pytest.param(BEDROCK_CONVERSE, converse, id="converse"),
]


def told(wire: WireFormat, body: Mapping[str, Any], headers: Mapping[str, str] = CLI, key: bytes = KEY) -> str:
    found = fingerprint_of(key, wire, headers, body)
    assert found is not None
    mark, _ = found
    assert mark.kind == "fingerprint"
    return mark.client_id


@pytest.mark.parametrize(("wire", "body"), FORMATS)
def test_rule_13_a_conversation_is_told_by_its_program_its_system_text_and_its_first_words(
    wire: WireFormat, body: Any
) -> None:
    first = told(wire, body("be brief", "hello"))
    assert told(wire, body("be brief", *TURNS)) == first
    assert told(wire, body("be brief", "hello"), {"user-agent": "GeminiCLI/0.62.0"}) == first
    others = [
        told(wire, body("be long", "hello")),
        told(wire, body("be brief", "hello!")),
        told(wire, body("be brief", "hello"), {"user-agent": "QwenCode/0.15"}),
        told(wire, body("be brief", "hello"), key=b"l" * 16),
        told(wire, body("be briefhello", "")),
    ]
    assert len({first, *others}) == len(others) + 1


@pytest.mark.parametrize(("wire", "body"), FORMATS)
def test_rule_13_a_conversation_repeats_what_it_had_reached(wire: WireFormat, body: Any) -> None:
    def said(*turns: str) -> Sequence[Any]:
        found = fingerprint_of(KEY, wire, CLI, body("be brief", *turns))
        assert found is not None
        return found[1]

    early = reached(said(*TURNS[:3]))
    assert early.within(said(*TURNS[:3]))
    assert early.within(said(*TURNS))
    assert not early.within(said(*TURNS[:1]))
    assert not early.within(said(*TURNS[:2], "do that", "done"))
    assert not NOWHERE.within(said(*TURNS))


def test_rule_13_what_does_not_show_its_beginning_is_told_from_nothing() -> None:
    assert fingerprint_of(KEY, OPENAI_CHAT, CLI, {"messages": []}) is None
    goes_on = {**responses("be brief", "and then?"), "previous_response_id": "resp_1"}
    assert fingerprint_of(KEY, OPENAI_RESPONSES, CLI, goes_on) is None


def test_rule_12_no_words_of_the_prompt_are_in_the_mark_and_surrogates_do_not_matter() -> None:
    secret = told(OPENAI_CHAT, chat("be brief", "the launch code is 1234 \ud800"))
    assert len(secret) == 32
    assert int(secret, 16)
