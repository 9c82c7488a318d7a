"""A provider that breaks off its answer says so in the middle of its stream, each in its way."""

from typing import Any

import pytest

from gateway.core.wire.formats import FORMATS
from gateway.pipeline.translate import ProviderFailed, StreamTranslation, half_of

OTHER = {"gemini": "openai_chat"}


@pytest.mark.parametrize(
    ("upstream", "event", "words"),
    [
        ("openai_chat", {"error": {"message": "Overloaded", "type": "server_error"}}, "Overloaded"),
        ("openai_chat", {"error": "Overloaded"}, "Overloaded"),
        ("anthropic_messages", {"type": "error", "error": {"type": "overloaded_error", "message": "No"}}, "No"),
        ("gemini", {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}, "Overloaded"),
        ("bedrock_converse", {"message": "Too many tokens"}, "Too many tokens"),
        ("openai_responses", {"type": "response.failed", "response": {"error": {"message": "No"}}}, "No"),
        ("openai_responses", {"type": "error", "code": "server_error", "message": "No", "param": None}, "No"),
        ("openai_responses", {"type": "error", "error": {"type": "server_error", "message": "No"}}, "No"),
    ],
)
def test_its_words_are_kept(upstream: str, event: dict[str, Any], words: str) -> None:
    front = FORMATS[OTHER.get(upstream, "gemini")]
    translation = StreamTranslation(front, FORMATS[upstream], front.ending(), include_usage=True)
    with pytest.raises(ProviderFailed) as failed:
        translation.feed(event)
    assert failed.value.denial().message.endswith(f": {words}")


def test_a_chunk_without_an_id_does_not_begin_the_answer() -> None:
    reader = half_of(FORMATS["openai_chat"]).reader()
    assert reader.feed({"id": "", "model": "", "choices": [], "prompt_filter_results": []}) == []
    started = reader.feed({"id": "c-1", "model": "m", "choices": []})
    assert started == [("c-1", "m")]
