"""Where Vertex AI takes the requests of its publishers' formats."""

import pytest

from gateway.core.wire.vertex import VERSION, placed, publisher_of

HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(("stream", "action"), [(False, "rawPredict"), (True, "streamRawPredict")])
def test_claude_is_asked_by_a_path_that_names_it(stream: bool, action: str) -> None:
    body = {"model": "claude-x@1", "messages": HI, "max_tokens": 9, **({"stream": True} if stream else {})}
    path, sent = placed("claude-x@1", "/messages?beta=true", body)
    assert path == f"/publishers/anthropic/models/claude-x@1:{action}"
    assert sent == {"anthropic_version": VERSION, **{name: body[name] for name in body if name != "model"}}
    assert body["model"] == "claude-x@1"


def test_a_version_of_the_clients_own_stays() -> None:
    assert placed("claude-x", "/messages", {"anthropic_version": "other"})[1] == {"anthropic_version": "other"}


@pytest.mark.parametrize("action", ["generateContent", "streamGenerateContent?alt=sse"])
def test_gemini_is_asked_as_google_does_elsewhere(action: str) -> None:
    body: dict[str, object] = {"contents": []}
    path, sent = placed("gemini-x", f"/v1beta/models/gemini-x:{action}", body)
    assert (path, sent) == (f"/publishers/google/models/gemini-x:{action}", body)


@pytest.mark.parametrize(
    ("model", "publisher"),
    [("claude-3", "anthropic"), ("gemini-2", "google"), ("gemma-3", "google"), ("llama-4", None), ("", None)],
)
def test_the_publisher_is_told_by_the_family(model: str, publisher: str | None) -> None:
    assert publisher_of(model) == publisher
