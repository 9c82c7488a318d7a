"""OpenAI images, speech, transcriptions and moderations: what a request can cost at most, and what a reply tells.

Formats: the OpenAI API reference, images, audio and moderations, as of 2026-11. Where a reply tells nothing, what is
booked is the estimate that is stated here.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from gateway.core.catalog import IMAGE_TOKENS_ASSUMED
from gateway.core.media import Media
from gateway.core.usage import Usage, UsageInvalid, from_responses, report_count, report_object
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.multipart import Form
from gateway.core.wire.task import TaskFacts, TaskReply

IMAGES_MAX = 10
IMAGE_OUTPUT_TOKENS: Final[Mapping[str, int]] = MappingProxyType({"low": 408, "medium": 1584})
IMAGE_OUTPUT_TOKENS_MOST = 6240
"""Of one image at the largest listed size; other qualities than these count as the highest."""
IMAGE_INPUT_TOKENS_HIGH = 6240
"""Of one image that is edited with `input_fidelity: high`."""
SPEECH_TOKENS_PER_CHARACTER = 3
"""Speech is about 20 tokens a second and 15 characters a second; the slowest is half as fast again."""
SOUND_BYTES_PER_SECOND = 2000
"""16 kbit/s: what speech is compressed to at most, in use. Sound that is longer than its bytes say is booked as the
provider reports it."""
SOUND_TOKENS_PER_SECOND = 10
TRANSCRIPT_TOKENS = 2048
"""The most that one transcription gives, by the models' own limits."""
PROMPT_CHARACTERS_MAX = 32_000
SPEECH_CHARACTERS_MAX = 4096
_TIME = re.compile(r"(\d+):([0-5]\d):([0-5]\d)[,.](\d)\d\d")
_MINUTES = re.compile(r"(?<![\d:])([0-5]\d):([0-5]\d)\.(\d)\d\d")


def read_images(body: Mapping[str, Any], form: Form | None) -> TaskFacts:
    """Generations, and with a form edits and variations. Raises FieldRefused."""
    _refuse(body, "stream", "images are not streamed here")
    model, prompt = _words(body, "model"), body.get("prompt", "")
    if (form is None or "prompt" in body) and (not isinstance(prompt, str) or not prompt):
        raise FieldRefused("prompt", "`prompt` must be a non-empty string")
    if len(prompt) > PROMPT_CHARACTERS_MAX:
        raise FieldRefused("prompt", f"`prompt` may have at most {PROMPT_CHARACTERS_MAX} characters")
    count = _number(body, "n", 1, IMAGES_MAX)
    quality, size = (_words(body, name, "auto") for name in ("quality", "size"))
    given = [] if form is None else form.files("image", "image[]", "mask")
    if form is not None and not form.files("image", "image[]"):
        raise FieldRefused("image", "`image` must be a file")
    each = IMAGE_INPUT_TOKENS_HIGH if body.get("input_fidelity") == "high" else IMAGE_TOKENS_ASSUMED
    tokens = each * len(given)
    output = count * IMAGE_OUTPUT_TOKENS.get(quality, IMAGE_OUTPUT_TOKENS_MOST)
    media = Media(images=count, image=f"{quality}/{size}", image_tokens=tokens)
    return TaskFacts(model, (prompt,), tokens, 1, media, output)


def images_reply(content: bytes, _kind: str, asked: Media) -> TaskReply:
    reply = _object(content)
    data = reply.get("data")
    made = len(data) if isinstance(data, list) else 0
    kind = "/".join(
        said if isinstance(said := reply.get(name), str) else part
        for name, part in zip(("quality", "size"), asked.image.split("/", 1), strict=True)
    )
    usage, bad = _usage(reply, from_responses)
    pictures = 0
    try:
        details = (reply.get("usage") or {}).get("input_tokens_details")
        if usage is not None and details:
            pictures = report_count(report_object("input_tokens_details", details), "image_tokens") or 0
    except UsageInvalid:
        usage, bad = None, True
    return TaskReply(usage, bad, "", Media(images=made, image=kind, image_tokens=pictures))


def read_speech(body: Mapping[str, Any], _form: Form | None) -> TaskFacts:
    """Raises FieldRefused."""
    if body.get("stream_format") not in (None, "audio"):
        raise FieldRefused("stream_format", "speech is answered as audio here", unsupported=True)
    text = _words(body, "input")
    if len(text) > SPEECH_CHARACTERS_MAX:
        raise FieldRefused("input", f"`input` may have at most {SPEECH_CHARACTERS_MAX} characters")
    said = _words(body, "instructions", "-")
    media = Media(characters=len(text), sound_out=True)
    return TaskFacts(_words(body, "model"), (text, said), 0, 2, media, len(text) * SPEECH_TOKENS_PER_CHARACTER)


def speech_reply(content: bytes, kind: str, asked: Media) -> TaskReply:
    if not content or kind.startswith("application/json"):
        raise ValueError("no sound")
    return TaskReply(media=asked)


def read_transcription(body: Mapping[str, Any], form: Form | None) -> TaskFacts:
    """Transcriptions and translations. Raises FieldRefused."""
    if body.get("stream") not in (None, "false", "False", "0"):
        raise FieldRefused("stream", "transcriptions are not streamed here", unsupported=True)
    files = [] if form is None else form.files("file")
    if not files:
        raise FieldRefused("file", "`file` must be a file")
    seconds = -(-(files[0].end - files[0].start) // SOUND_BYTES_PER_SECOND)
    prompt = _words(body, "prompt", "-")
    tokens = seconds * SOUND_TOKENS_PER_SECOND
    media = Media(tenths=10 * seconds, sound_tokens=tokens)
    return TaskFacts(_words(body, "model"), (prompt,), tokens, 1, media, TRANSCRIPT_TOKENS)


def transcription_reply(content: bytes, kind: str, asked: Media) -> TaskReply:
    """JSON with `usage` of tokens or of a duration, or with a `duration`; subtitles, whose last time is the duration;
    or plain text, which tells nothing."""
    if not kind.startswith("application/json"):
        text = content.decode("utf-8", "replace")
        return TaskReply(text=text, media=_until(text, asked))
    reply = _object(content)
    text = said if isinstance(said := reply.get("text"), str) else ""
    usage = reply.get("usage")
    if isinstance(usage, dict) and usage.get("type") == "tokens":
        renamed = {("input_tokens_details" if k == "input_token_details" else k): v for k, v in usage.items()}
        found, bad = _usage({"usage": renamed}, from_responses)
        return TaskReply(found, bad, text)
    seconds = usage.get("seconds") if isinstance(usage, dict) else reply.get("duration")
    try:
        tenths = -(-round(float(seconds) * 1000) // 100) if seconds is not None else None
    except (TypeError, ValueError, OverflowError):
        return TaskReply(None, bad=True, text=text)
    if tenths is None:
        return TaskReply(text=text)
    if not 0 <= tenths <= _TENTHS_MAX:
        return TaskReply(None, bad=True, text=text)
    return TaskReply(text=text, media=asked._replace(tenths=tenths))


_TENTHS_MAX = 10 * 7 * 24 * 3600


def read_moderation(body: Mapping[str, Any], _form: Form | None) -> TaskFacts:
    """Raises FieldRefused. The provider bills none of these."""
    given = body.get("input")
    if not isinstance(given, str | list) or not given:
        raise FieldRefused("input", "`input` must be a string or a non-empty list")
    return TaskFacts(_words(body, "model", "omni-moderation-latest"), (), 0, 1, free=True)


def free_reply(content: bytes, _kind: str, _asked: Media) -> TaskReply:
    _object(content)
    return TaskReply(Usage(0, 0, 0, 0, 0))


def _until(text: str, asked: Media) -> Media | None:
    """The sound up to the last time of subtitles (srt, vtt); None where there is none."""
    ends = [((int(h) * 60 + int(m)) * 60 + int(s)) * 10 + int(t) + 1 for h, m, s, t in _TIME.findall(text)]
    ends += [(int(m) * 60 + int(s)) * 10 + int(t) + 1 for m, s, t in _MINUTES.findall(text)]
    subtitles = "-->" in text and ends
    return asked._replace(tenths=max(ends)) if subtitles and max(ends) <= _TENTHS_MAX else None


def _usage(reply: Mapping[str, Any], read: Any) -> tuple[Usage | None, bool]:
    try:
        return read(reply.get("usage")), False
    except UsageInvalid:
        return None, True


def _object(content: bytes) -> Mapping[str, Any]:
    reply = json.loads(content)
    if not isinstance(reply, dict):
        raise ValueError("not an object")
    return reply


def _refuse(body: Mapping[str, Any], field: str, why: str) -> None:
    if body.get(field) not in (None, False, "false"):
        raise FieldRefused(field, f"`{field}` is not supported: {why}", unsupported=True)


def _words(body: Mapping[str, Any], field: str, otherwise: str | None = None) -> str:
    value = body.get(field)
    if value in (None, "") and otherwise is not None:
        return otherwise
    if not isinstance(value, str) or not value:
        raise FieldRefused(field, f"`{field}` must be a non-empty string")
    return value


def _number(body: Mapping[str, Any], field: str, least: int, most: int) -> int:
    """A form writes numbers as text."""
    value = body.get(field)
    if value is None:
        return least
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise FieldRefused(field, f"`{field}` must be an integer from {least} to {most}")
    return value
