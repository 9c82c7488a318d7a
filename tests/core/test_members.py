"""What is left out of a translated request and said, what says nothing, and what is carried in other words."""

from typing import Any

import pytest

from gateway.core.wire import neutral
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.formats import FORMATS
from gateway.core.wire.neutral import NeutralRequest
from gateway.pipeline.translate import half_of

MARK = {"type": "ephemeral"}


def read(name: str, **body: Any) -> NeutralRequest:
    return half_of(FORMATS[name]).read_request({"model": "m", **body})


def anthropic(block: dict[str, Any]) -> NeutralRequest:
    return read("anthropic_messages", max_tokens=9, messages=[{"role": "user", "content": [block]}])


def chat(part: dict[str, Any], **message: Any) -> NeutralRequest:
    return read("openai_chat", messages=[{"role": "user", "content": [part], **message}])


def responses(part: dict[str, Any], **item: Any) -> NeutralRequest:
    return read("openai_responses", input=[{"role": "user", "content": [part], **item}])


def gemini(part: dict[str, Any], **more: Any) -> NeutralRequest:
    return read("gemini", contents=[{"role": "user", "parts": [part]}], **more)


def converse(block: dict[str, Any], **more: Any) -> NeutralRequest:
    return read("bedrock_converse", messages=[{"role": "user", "content": [block]}], **more)


RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x", "cache_control": MARK}]}
DOCUMENT = {"source": {"text": "body"}, "format": "txt", "name": "paper"}
FUNCTION = {"name": "f", "response": {"type": "STRING"}, "behavior": "BLOCKING"}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (anthropic({"type": "text", "text": "x", "citations": [{"type": "page_location"}]}), "messages.citations"),
        (anthropic(RESULT), "cache_control"),
        (chat({"type": "text", "text": "x", "prompt_cache_breakpoint": {}}), ""),
        (chat({"type": "text", "text": "x"}, name="anna"), "messages.name"),
        (responses({"type": "output_text", "text": "x", "annotations": [{"type": "file_path"}]}), "input.annotations"),
        (responses({"type": "input_text", "text": "x"}, phase="commentary", id="m", status="completed"), "input.phase"),
        (gemini({"text": "x", "thought_signature": "s"}), "contents.thoughtSignature"),
        (gemini({"text": "x", "mediaResolution": {"level": "L"}}), "contents.mediaResolution"),
        (gemini({"text": "x"}, tools=[{"functionDeclarations": [FUNCTION]}]), "tools.response"),
        (converse({"document": DOCUMENT}), "messages.name"),
        (converse({"text": "x"}, system=[{"text": "s"}, {"cachePoint": {"type": "default"}}]), "cachePoint"),
    ],
)
def test_what_is_left_out_is_said(request_: NeutralRequest, said: str) -> None:
    assert request_.left_out == ((said,) if said else ())


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (
            anthropic(
                {
                    "type": "document",
                    "title": "T",
                    "context": "C",
                    "citations": {"enabled": False},
                    "source": {"type": "text", "media_type": "text/plain", "data": "body"},
                }
            ),
            "T\n\nC\n\nbody",
        ),
        (converse({"document": {**DOCUMENT, "context": "C", "citations": {"enabled": False}}}), "C\n\nbody"),
    ],
)
def test_what_is_told_of_a_document_goes_before_it(request_: NeutralRequest, text: str) -> None:
    assert request_.messages[0].parts == (neutral.Text(text),)


def test_a_refusal_beside_an_answer_is_kept() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "refusal": "c"}]
    assert read("openai_chat", messages=said).messages[1].parts == (neutral.Text("b"), neutral.Text("c"))


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("openai_chat", {"messages": [{"role": "system", "content": [PICTURE]}]}, "messages"),
        (
            "gemini",
            {"contents": [], "systemInstruction": {"parts": [{"inlineData": {"data": "A"}}]}},
            "systemInstruction",
        ),
        (
            "gemini",
            {
                "contents": [],
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseSchema": {"type": "OBJECT"},
                    "responseJsonSchema": {"type": "object"},
                },
            },
            "responseSchema",
        ),
        ("gemini", {"contents": [], "toolConfig": {"retrievalConfig": {"languageCode": "de"}}}, "toolConfig"),
        (
            "bedrock_converse",
            {
                "messages": [],
                "outputConfig": {
                    "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "not json"}}}
                },
            },
            "outputConfig",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused(name: str, body: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldRefused) as refused:
        read(name, **body)
    assert refused.value.field == field


def test_googles_schema_becomes_json_schema_and_data_in_it_stays() -> None:
    googles = {
        "type": "OBJECT",
        "property_ordering": ["b", "a"],
        "properties": {
            "type": {"type": "STRING", "enum": ["CAR"], "default": "CAR"},
            "many": {"type": "ARRAY", "minItems": "2", "items": {"any_of": [{"type": "INTEGER"}, {"type": "NULL"}]}},
            "may": {"type": "STRING", "nullable": True, "example": {"type": "CAR"}},
        },
    }
    function = {"name": "f", "parameters": googles}
    (tool,) = gemini({"text": "x"}, tools=[{"functionDeclarations": [function]}]).tools
    assert tool.schema == {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["CAR"], "default": "CAR"},
            "many": {"type": "array", "minItems": 2, "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
            "may": {"type": ["string", "null"], "example": {"type": "CAR"}},
        },
    }


@pytest.mark.parametrize(
    ("mode", "closed", "strict"), [("VALIDATED", True, True), ("VALIDATED", False, False), ("AUTO", True, False)]
)
def test_googles_validated_calls_are_strict_ones_where_openai_can(mode: str, closed: bool, strict: bool) -> None:
    schema = {"type": "object", "properties": {}, "required": []} | ({"additionalProperties": False} if closed else {})
    tools = [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]
    (tool,) = gemini({"text": "x"}, tools=tools, toolConfig={"functionCallingConfig": {"mode": mode}}).tools
    assert tool.strict is strict
