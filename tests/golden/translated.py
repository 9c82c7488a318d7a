"""What becomes of the documents of `formats/` between each front and each provider."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import FORMATS
from gateway.core.wire.neutral import NeutralRequest
from gateway.pipeline.translate import StreamTranslation, half_of, translated_refusal, translated_reply

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in (HERE / "formats").glob("*.json"))
PAIRS = [(front, upstream) for front in NAMES for upstream in NAMES if front != upstream]
MODEL, OUTPUT_MAX, CAP_FIELD = "gemini-3.8-flash", 200, "max_tokens"


def golden_file(front: str, upstream: str) -> Path:
    return HERE / "translated" / f"{front}_{upstream}.json"


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "formats" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def translated(front_name: str, upstream_name: str) -> dict[str, Any]:
    front, upstream = FORMATS[front_name], FORMATS[upstream_name]
    asked, answered = document(front_name), document(upstream_name)
    request = half_of(front).read_request(asked["request"])
    return {
        "request": _written(upstream, request),
        "left_out": list(request.left_out),
        "reply": json.loads(translated_reply(front, upstream, answered["reply"])),
        "stream": _stream(front, upstream, answered["stream"]),
        "refusal": json.loads(translated_refusal(front, upstream, 400, json.dumps(answered["refusal"]).encode())),
    }


def _written(upstream: WireFormat, request: NeutralRequest) -> Mapping[str, Any]:
    """The request for the provider; one with stop sequences is refused where there are none, and shown without."""
    write = half_of(upstream).write_request
    try:
        return write(request, MODEL, OUTPUT_MAX, CAP_FIELD)
    except FieldRefused as refused:
        return {"refused": refused.field, "without": write(replace(request, stop=()), MODEL, OUTPUT_MAX, CAP_FIELD)}


def _stream(front: WireFormat, upstream: WireFormat, chunks: list[dict[str, Any]]) -> list[str]:
    """The payloads that the client's decoder sees."""
    translation = StreamTranslation(front, upstream, front.ending(), include_usage=True)
    stream = b"".join([*map(translation.feed, chunks), translation.finish()])
    return [event.data.decode() for event in front.decoder().feed(stream)]


def main() -> None:
    (HERE / "translated").mkdir(exist_ok=True)
    for front, upstream in PAIRS:
        text = json.dumps(translated(front, upstream), indent=1, ensure_ascii=False)
        golden_file(front, upstream).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
