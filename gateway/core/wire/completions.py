"""OpenAI completions, the old format with one `prompt`: what a request asks for, checked, and what a reply tells.

Fields with authority or cost are refused as on chat completions (rule 7); `echo` is too, for it returns the prompt as
output. Usage has the names of chat. There is no conversation and there are no tools.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.core.usage import TOKENS_MAX
from gateway.core.wire.exchange import Exchange
from gateway.core.wire.facts import NO_CONTENT_BUT_TEXT, FieldRefused, RequestFacts
from gateway.core.wire.openai_chat import CHOICES_MAX, SERVICE_TIERS, refuse_fields
from gateway.core.wire.openai_reply import UsageMeter

CAP_FIELD = "max_tokens"
CAP_ASSUMED = 16
"""What the API reference says a request without `max_tokens` is cut at; compatible servers may not, so it is sent."""
PROMPTS_MAX = 128
NOT_THE_REQUEST = frozenset({"user", "safety_identifier", "stream_options", "prompt"})
_OF_THE_PROMPT = ("suffix",)


def read(body: Mapping[str, Any]) -> RequestFacts:
    """Raises FieldRefused naming the first field that is wrong."""
    refuse_fields(body)
    if body.get("echo"):
        raise FieldRefused("echo", "`echo` is not supported: the prompt would come back as output", unsupported=True)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise FieldRefused("model", "`model` must be a non-empty string")
    tier = body.get("service_tier") or "default"
    if not isinstance(tier, str) or tier not in SERVICE_TIERS:
        raise FieldRefused("service_tier", "this service tier has no price here", unsupported=True)
    choices = len(_prompts(body)) * (_integer(body, "n", CHOICES_MAX) or 1)
    if choices > CHOICES_MAX:
        raise FieldRefused("prompt", f"`prompt` and `n` ask for more than {CHOICES_MAX} answers")
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise FieldRefused("stream", "`stream` must be true or false")
    return RequestFacts(
        model=model,
        stream=bool(stream),
        include_usage=bool(stream) and _include_usage(body),
        choices=choices,
        client_max_tokens=_integer(body, CAP_FIELD, TOKENS_MAX) or CAP_ASSUMED,
        max_field=CAP_FIELD,
        tools=(),
        service_tier=tier,
        content=NO_CONTENT_BUT_TEXT,
    )


def outgoing(
    body: Mapping[str, Any], facts: RequestFacts, *, model: str, cap: int | None, cap_field: str, ask_usage: bool
) -> dict[str, Any]:
    """The body to send: the client's, with the upstream's model name, the cap and, for streams, the usage report. The
    cap has one field in this format, whatever a deployment calls it elsewhere."""
    sent = {**body, "model": model, CAP_FIELD: facts.client_max_tokens if cap is None else cap}
    if facts.stream and ask_usage and not facts.include_usage:
        sent["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return sent


def without_tools(body: Mapping[str, Any], denied: frozenset[str]) -> Mapping[str, Any]:
    """The body: there are no tools in this format."""
    return body


def messages_of(body: Mapping[str, Any]) -> list[Any]:
    return _prompts(body)


def beside(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in _OF_THE_PROMPT if body.get(name) is not None}


def texts(body: Mapping[str, Any]) -> list[str]:
    """A prompt given as tokens is counted by its digits, which are no fewer."""
    given = [*_prompts(body), *beside(body).values()]
    return [each if isinstance(each, str) else json.dumps(each) for each in given]


class CompletionMeter(UsageMeter):
    """Feed it every parsed chunk of a stream, in order."""

    __slots__ = ("_ended", "_seen")

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[int] = set()
        self._ended: set[int] = set()

    @property
    def finished(self) -> bool:
        return bool(self._ended) and self._seen <= self._ended

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        for choice in _choices(chunk):
            number = index if isinstance(index := choice.get("index"), int) else 0
            self._seen.add(number)
            if choice.get("finish_reason") is not None:
                self._ended.add(number)
            if isinstance(text := choice.get("text"), str) and text:
                self.events += 1
                self._text(text)
        return self.report_in(chunk)

    def tool_calls(self) -> Iterator[tuple[str, str]]:
        return iter(())


def reply_text(reply: Mapping[str, Any]) -> str:
    return "".join(text for choice in _choices(reply) if isinstance(text := choice.get("text"), str))


def reply_calls(reply: Mapping[str, Any]) -> list[tuple[str, str]]:
    return []


def exchanges(messages: Sequence[Any], known: int) -> list[Exchange]:
    return []


def beginning(messages: Sequence[Any]) -> str:
    return messages[0] if messages and isinstance(messages[0], str) else ""


def answered(messages: Sequence[Any]) -> bool:
    return False


def _choices(holder: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    choices = holder.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            yield choice


def _prompts(body: Mapping[str, Any]) -> list[Any]:
    """Each prompt by itself: a text or a list of tokens. Raises FieldRefused."""
    given = body.get("prompt")
    if isinstance(given, str) or _is_tokens(given):
        return [given]
    listed = given if isinstance(given, list) and 0 < len(given) <= PROMPTS_MAX else [None]
    if all(isinstance(each, str) for each in listed) or all(_is_tokens(each) for each in listed):
        return listed
    raise FieldRefused(
        "prompt", f"`prompt` must be a text, a list of tokens, or a list of at most {PROMPTS_MAX} of one"
    )


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)


def _integer(body: Mapping[str, Any], field: str, most: int) -> int | None:
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise FieldRefused(field, f"`{field}` must be an integer from 1 to {most}")
    return value


def _include_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    if options is not None and not isinstance(options, Mapping):
        raise FieldRefused("stream_options", "`stream_options` must be an object")
    return options is not None and options.get("include_usage") is True
