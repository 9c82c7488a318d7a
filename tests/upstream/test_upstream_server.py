"""The scripted upstream keeps its own word: what its log says is what it sent."""

import json
import urllib.request
from typing import Any

import pytest

from tests.support.fixtures import UpstreamProcess


def post(upstream: UpstreamProcess, **fields: object) -> bytes:
    body = {"model": "any", "messages": [{"role": "user", "content": "12345"}], **fields}
    call = urllib.request.Request(f"{upstream.base_url}/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(call, timeout=5) as reply:
        return bytes(reply.read())


def usages_of(stream: bytes) -> list[tuple[int, int, bool]]:
    """Prompt tokens, completion tokens and whether choices stood beside them, for each usage of a stream."""
    events = [event.removeprefix("data: ") for event in stream.decode().split("\n\n")]
    documents: list[dict[str, Any]] = [json.loads(event) for event in events if event.startswith("{")]
    return [
        (document["usage"]["prompt_tokens"], document["usage"]["completion_tokens"], bool(document["choices"]))
        for document in documents
        if document.get("usage")
    ]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ("usual", [(2, 3, False)]),
        ("missing", []),
        ("null", []),
        ("zero", [(0, 0, False)]),
        ("negative", [(-2, -3, False)]),
        ("double", [(1, 1, False), (2, 3, False)]),
        ("in_choice", [(2, 3, True)]),
        ("each", [(2, 1, True), (2, 2, True), (2, 3, True), (2, 3, True)]),
        ("late", [(2, 3, False)]),
        ({"prompt_tokens": 7, "completion_tokens": 10**12}, [(7, 10**12, False)]),
    ],
    ids=str,
)
def test_a_stream_reports_usage_as_scripted(
    clean_upstream: UpstreamProcess, usage: object, expected: list[tuple[int, int, bool]]
) -> None:
    clean_upstream.script(events=3, usage=usage)
    stream = post(clean_upstream, stream=True, stream_options={"include_usage": True})
    assert usages_of(stream) == expected
    assert stream.endswith(b"[DONE]\n\n") is (usage != "late")
    row = clean_upstream.log()[0]
    assert (row.events, row.outcome) == (3, "complete")


def test_no_usage_is_streamed_unless_asked_for(clean_upstream: UpstreamProcess) -> None:
    assert usages_of(post(clean_upstream, stream=True)) == []


def test_a_cap_is_obeyed_unless_scripted_otherwise(clean_upstream: UpstreamProcess) -> None:
    assert json.loads(post(clean_upstream, max_tokens=2))["usage"]["completion_tokens"] == 2
    clean_upstream.script(obey_cap=False, events=9)
    assert json.loads(post(clean_upstream, max_tokens=2))["usage"]["completion_tokens"] == 9


def test_rules_are_tried_newest_first_and_run_out(clean_upstream: UpstreamProcess) -> None:
    clean_upstream.script(text="for all")
    clean_upstream.script(model="any", text="first", times=1)
    clean_upstream.script(model="other", text="never")
    said = [json.loads(post(clean_upstream))["choices"][0]["message"]["content"] for _ in range(2)]
    assert said == ["first ", "for all "]


def test_a_marker_in_the_text_chooses_the_script(clean_upstream: UpstreamProcess) -> None:
    reply = json.loads(post(clean_upstream, messages=[{"role": "user", "content": 'x [[mock {"events": 9}]] y'}]))
    assert reply["usage"]["completion_tokens"] == 9


@pytest.mark.parametrize("fields", [{"fault": "no such"}, {"usage": "no such"}, {"no_such_field": 1}])
def test_a_wrong_script_is_refused(clean_upstream: UpstreamProcess, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no.such"):
        clean_upstream.script(**fields)


def test_stop_ends_the_process() -> None:
    process = UpstreamProcess()
    process.stop()
    process.stop()
    with pytest.raises(OSError, match="refused"):
        process.stats()
