"""Each front before each provider, document by document, against files that people have read."""

import json

import pytest

from gateway.core.wire.formats import FORMATS
from tests.golden.translated import NAMES, PAIRS, document, golden_file, translated


@pytest.mark.parametrize(("front", "upstream"), PAIRS)
def test_documents_are_translated_as_written_down(front: str, upstream: str) -> None:
    assert translated(front, upstream) == json.loads(golden_file(front, upstream).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_the_documents_are_of_their_format(name: str) -> None:
    """What a client sends is accepted, and what a provider tells is metered the same whole and streamed."""
    wire, found = FORMATS[name], document(name)
    facts = wire.requests.read(found["request"])
    assert (facts.client_max_tokens, facts.tools, facts.content.images) == (200, ("lookup",), 1)
    meter = wire.meter()
    for chunk in found["stream"]:
        meter.feed(chunk)
    usage, bad = wire.replies.usage(found["reply"])
    assert (meter.reported, bad) == (usage, False)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (100, 30, 40)
    assert [name for name, _ in meter.tool_calls()] == [name for name, _ in wire.replies.calls(found["reply"])]


def test_no_golden_file_is_left_over() -> None:
    kept = {path.name for path in golden_file("a", "b").parent.glob("*.json")}
    assert kept == {golden_file(*pair).name for pair in PAIRS}
