"""The real SDKs read each translated answer, whole and streamed, and hear what the provider said."""

import pytest

from tests.golden.sdk_parsers import heard
from tests.golden.translated import TRANSLATED, answer, reply

STOPS = {
    "openai_chat": ("stop", "tool_calls", "length"),
    "openai_responses": ("completed", "completed", "incomplete"),
    "anthropic_messages": ("end_turn", "tool_use", "max_tokens"),
    "gemini": ("STOP", "STOP", "MAX_TOKENS"),
    "bedrock_converse": ("end_turn", "tool_use", "max_tokens"),
}
GREETING = 'Γειά "σου"\n'  # noqa: RUF001 - not only letters of ASCII
CALLS: tuple[tuple[str, object], ...] = (("weather", {"city": "Paris"}), ("now", {}))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("front", "upstream"), TRANSLATED)
def test_the_sdk_hears_what_was_said(front: str, upstream: str, streamed: bool) -> None:
    said = answer if streamed else reply
    plain, tools, thinking, length = (
        heard(front, said(front, upstream, case), streamed=streamed)
        for case in ("plain", "tools", "thinking", "length")
    )
    end, called, cut = STOPS[front]
    assert (plain.text, plain.calls, plain.tokens, plain.stop) == (GREETING, (), (100, 30), end)
    assert (tools.calls, tools.tokens, tools.stop) == (CALLS, (100, 30), called)
    assert (thinking.text, thinking.tokens, thinking.stop) == ("4", (10, 30), end)
    assert (length.text.startswith("Once"), length.stop) == (True, cut)
