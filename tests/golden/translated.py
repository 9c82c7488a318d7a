"""What becomes of all that is in `said/` between each front and each provider: the golden table.

    python -m tests.golden.translated --update      # writes the files anew; then read the difference

Each file is one front before one provider. A request is shown as it goes to the provider, or with the field that it was
refused for; a reply as the client gets it; a stream byte for byte (`␍` is a carriage return; a frame is its headers
and its payload). Where both speak one format, replies and streams pass untouched, so only the request is shown.
"""

import json
import sys
from typing import Any

from gateway.core.denial import Denial
from gateway.core.wire.eventstream import FrameDecoder
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import FORMATS
from gateway.core.wire.neutral import Started
from gateway.core.wire.openai_reply import DONE
from gateway.pipeline.translate import (
    ProviderFailed,
    StreamTranslation,
    half_of,
    left_out,
    translated_refusal,
    translated_reply,
    written_request,
)
from tests.golden.said_files import FORMATS_SAID, FRAMED, HERE, body, cases, stream

PAIRS = [(front, upstream) for front in FORMATS_SAID for upstream in FORMATS_SAID]
TRANSLATED = [pair for pair in PAIRS if pair[0] != pair[1]]
MODELS = {
    "openai_chat": "gpt-5-mini",
    "openai_responses": "gpt-5-mini",
    "anthropic_messages": "claude-sonnet-4-5",
    "gemini": "gemini-3-flash",
    "bedrock_converse": "anthropic.claude-sonnet-4-5-v1:0",
}
OUTPUT_MAX, CALL_ID = 200, "call-1"
UNNAMED = Started(CALL_ID, "alias")


def golden_file(front: str, upstream: str) -> Any:
    return HERE / "translated" / f"{front}_{upstream}.txt"


def table(front: str, upstream: str) -> str:
    """All sections of one file."""
    found = [("request", case, request(front, upstream, case)) for case in cases(front, "request")]
    if front != upstream:
        found += [("reply", case, reply(front, upstream, case).decode()) for case in cases(upstream, "reply")]
        found += [("refusal", case, _refusal(front, upstream, case)) for case in cases(upstream, "refusal")]
        found += [("stream", case, shown(front, answer(front, upstream, case))) for case in cases(upstream, "stream")]
    return "".join(f"=== {kind} {case}\n{text.rstrip(chr(10))}\n" for kind, case, text in found)


def request(front_name: str, upstream_name: str, case: str) -> str:
    front, upstream, model = FORMATS[front_name], FORMATS[upstream_name], MODELS[upstream_name]
    asked, field = body(front_name, "request", case), _cap_field(upstream_name)
    try:
        facts = front.requests.read(asked)
        if front is upstream:
            return _compact(
                front.requests.outgoing(asked, facts, model=model, cap=OUTPUT_MAX, cap_field=field, ask_usage=True)
            )
        said = half_of(front).read_request(asked)
        sent = written_request(front, upstream, said, model, OUTPUT_MAX, field)
    except FieldRefused as refused:
        return f"refused `{refused.field}`: {refused}"
    hints = left_out(upstream, said)
    return _compact(sent) + (f"\nleft out: {', '.join(hints)}" if hints else "")


def reply(front: str, upstream: str, case: str) -> bytes:
    return translated_reply(FORMATS[front], FORMATS[upstream], body(upstream, "reply", case), (), UNNAMED)


def answer(front_name: str, upstream_name: str, case: str) -> bytes:
    """The bytes of a stream for the client, as the relay makes them."""
    front, upstream = FORMATS[front_name], FORMATS[upstream_name]
    ending, meter, decoder = front.ending(), upstream.meter(), upstream.decoder()
    translation = StreamTranslation(front, upstream, ending, include_usage=True, unnamed=UNNAMED)
    out: list[bytes] = []
    try:
        for event in decoder.feed(stream(upstream_name, case)):
            if event.data == DONE:
                return b"".join([*out, translation.finish()])
            if event.data:
                chunk = json.loads(event.data)
                meter.feed(chunk)
                out.append(translation.feed(chunk))
    except ProviderFailed as failed:
        return b"".join([*out, _cut(ending, failed.denial())])
    assert meter.finished
    return b"".join([*out, translation.finish()])


def shown(front: str, answered: bytes) -> str:
    if front != FRAMED:
        return answered.decode().replace("\r", "␍")
    frames = FrameDecoder().feed(answered)
    return "\n".join(f"{json.dumps(frame.headers)} {frame.data.decode()}" for frame in frames)


def _cut(ending: Any, denial: Denial) -> bytes:
    error: bytes = ending.error(denial.message, denial.code.value, {**denial.machine(), "call": CALL_ID})
    return error


def _refusal(front: str, upstream: str, status: str) -> str:
    said = json.dumps(body(upstream, "refusal", status)).encode()
    return translated_refusal(FORMATS[front], FORMATS[upstream], int(status), said).decode()


def _cap_field(upstream: str) -> str:
    wire: WireFormat = FORMATS[upstream]
    return wire.cap_field or "max_completion_tokens"


def _compact(sent: Any) -> str:
    return json.dumps(sent, ensure_ascii=False, separators=(",", ":"))


def main() -> None:
    if sys.argv[1:] != ["--update"]:
        raise SystemExit(__doc__)
    for front, upstream in PAIRS:
        golden_file(front, upstream).write_text(table(front, upstream), encoding="utf-8")


if __name__ == "__main__":
    main()
