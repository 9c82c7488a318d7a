"""Each front before each provider, byte for byte, against files that people have read."""

import pytest

from gateway.core.wire.formats import FORMATS
from tests.golden.said_files import FORMATS_SAID, body, cases
from tests.golden.translated import PAIRS, golden_file, table


@pytest.mark.parametrize(("front", "upstream"), PAIRS)
def test_all_is_translated_as_written_down(front: str, upstream: str) -> None:
    assert table(front, upstream) == golden_file(front, upstream).read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    kept = {path.name for path in golden_file("a", "b").parent.iterdir()}
    assert kept == {golden_file(*pair).name for pair in PAIRS}


@pytest.mark.parametrize("name", FORMATS_SAID)
def test_what_is_said_covers_the_table(name: str) -> None:
    """Each format has each kind of question and answer, and its usage and calls are read as the provider tells them."""
    asked = {"plain", "stream", "system", "tools", "one_tool", "image_base64", "image_url", "thinking"}
    assert asked <= set(cases(name, "request"))
    assert {"plain", "tools", "thinking", "length"} <= set(cases(name, "reply"))
    assert {"plain", "tools", "thinking", "length", "error"} <= set(cases(name, "stream"))
    replies = FORMATS[name].replies
    usage, bad = replies.usage(body(name, "reply", "plain"))
    assert usage is not None
    assert not bad
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (100, 30, 40)
    assert [call for call, _ in replies.calls(body(name, "reply", "tools"))] == ["weather", "now"]
