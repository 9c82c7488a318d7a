"""Between a client and a provider that speak different wire formats: whole replies, refusals and streams on their way
back, and what a request becomes on its way out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from gateway.core.denial import Code, Denial
from gateway.core.upstream import UpstreamFailed
from gateway.core.wire import neutral
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.format import StreamEnd, WireFormat
from gateway.core.wire.neutral import Half, NeutralRequest
from gateway.core.wire.untranslatable import respelled

BROKE_OFF = "The provider broke off its answer."


_UNNAMED = neutral.Started("", "")


class ProviderFailed(UpstreamFailed):
    """The provider itself breaks off its answer in the middle; with what it says of that, which may be nothing."""

    def __init__(self, text: str) -> None:
        super().__init__(BROKE_OFF, sent=True)
        self.text = text

    def denial(self) -> Denial:
        words = BROKE_OFF if not self.text else f"The provider broke off its answer: {self.text}"
        return Denial(Code.UPSTREAM_FAILED, words)


def half_of(wire: WireFormat) -> Half:
    """Formats without a half are never chosen for translation."""
    assert wire.half is not None
    return wire.half


def written_request(
    front: WireFormat, upstream: WireFormat, request: NeutralRequest, model: str, output_max: int, cap_field: str
) -> Mapping[str, Any]:
    """Raises FieldRefused for what the provider has no counterpart for, by the name that the client knows."""
    try:
        return half_of(upstream).write_request(request, model, output_max, cap_field)
    except FieldRefused as refused:
        raise respelled(refused, half_of(front).spelled.get(refused.field, refused.field)) from None


def left_out(upstream: WireFormat, request: NeutralRequest) -> tuple[str, ...]:
    """What the provider is not told of a request."""
    images = (part for message in request.messages for part in message.parts if isinstance(part, neutral.Image))
    detail = not half_of(upstream).details and any(image.detail for image in images)
    return (*request.left_out, "detail") if detail else request.left_out


def translated_reply(
    front: WireFormat,
    upstream: WireFormat,
    reply: Mapping[str, Any],
    declared: tuple[neutral.Tool, ...] = (),
    unnamed: neutral.Started = _UNNAMED,
) -> bytes:
    """`declared` = the tools that the client declared; `unnamed` has the id and the model of a reply that tells none,
    as Bedrock's does."""
    said = half_of(upstream).read_reply(reply)
    said = replace(said, id=said.id or unnamed.id, model=said.model or unnamed.model, tools=declared)
    return orjson.dumps(half_of(front).write_reply(said))


def translated_refusal(front: WireFormat, upstream: WireFormat, status: int, body: bytes) -> bytes:
    """A provider's own refusal of a request, in the words that it has."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    text = half_of(upstream).error_text(said) if isinstance(said, dict) else ""
    return orjson.dumps(half_of(front).error_body(status, text or f"The provider refused the request ({status})."))


class StreamTranslation:
    """One stream. `ending` sees what the client gets, so that an end of our own fits it; `unnamed` as for a reply."""

    def __init__(
        self,
        front: WireFormat,
        upstream: WireFormat,
        ending: StreamEnd,
        *,
        include_usage: bool,
        declared: tuple[neutral.Tool, ...] = (),
        unnamed: neutral.Started = _UNNAMED,
    ) -> None:
        self._unnamed = unnamed
        self._reader = half_of(upstream).reader()
        self._writer = half_of(front).writer(include_usage)
        self._writer.write(neutral.Declared(declared))
        self._ending = ending
        self._finished = False

    def feed(self, chunk: Mapping[str, Any]) -> bytes:
        """The bytes for the client that say what this event of the provider says. Raises ProviderFailed."""
        return b"".join([self._written(delta) for delta in self._reader.feed(chunk)])

    def finish(self) -> bytes:
        """The end, where the provider's stream has no word for it; nothing if it was told."""
        if self._finished:
            return b""
        return b"".join([self._written(delta) for delta in (*self._reader.rest(), neutral.Finished())])

    def _written(self, delta: neutral.Delta) -> bytes:
        if isinstance(delta, neutral.Failed):
            raise ProviderFailed(delta.text)
        if isinstance(delta, neutral.Started):
            delta = neutral.Started(delta.id or self._unnamed.id, delta.model or self._unnamed.model)
        parts = []
        for chunk in self._writer.write(delta):
            if self._ending.watching:
                self._ending.saw(chunk)
            parts.append(self._writer.encoded(chunk))
        if isinstance(delta, neutral.Finished):
            self._finished = True
            parts.append(self._writer.last())
        return b"".join(parts)
