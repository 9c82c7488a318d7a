"""Token usage in one convention for all providers, and its reading from the OpenAI wire format.

The convention is *inclusive*: input holds cache reads, cache writes and audio, output holds reasoning and audio. So no
part is ever added to a total, and a limit in tokens is input + output whatever the provider.
Rule: a report is believed or refused, never repaired downward. An explicit zero is a report; a missing one is None, and
so is one that leaves out a whole side of the call: what a provider did not say is estimated, never free.
"""

from collections.abc import Mapping
from dataclasses import fields, replace

from gateway.core.value import value

# No model takes or gives a billion tokens in one call; a larger figure is a fault that must not reach a counter.
TOKENS_MAX = 10**9


class UsageInvalid(ValueError):
    """A report that cannot be true: negative, not an integer, absurdly large. The message holds no content."""


@value
class Usage:
    """What one call used, in tokens. `estimated` says how a figure came about that no provider reported.

    `clamped`: a part was reported larger than its whole and was cut to it. `cache_write_long_tokens` is the part of the
    cache writes that is kept for an hour and has a price of its own, `cached_audio_tokens` that of the cache reads that
    is sound, which no `audio_input_tokens` hold.
    """

    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    estimated: str | None = None
    clamped: bool = False
    cache_write_long_tokens: int = 0
    cached_audio_tokens: int = 0

    def __post_init__(self) -> None:
        # Priced apart, so these three must fit side by side; reasoning is priced as output and may overlap with audio.
        input_parts = self.cached_input_tokens + self.cache_write_tokens + self.audio_input_tokens
        if (
            self.cache_write_long_tokens > self.cache_write_tokens
            or self.cached_audio_tokens > self.cached_input_tokens
        ):
            raise UsageInvalid("a part of what was cached is larger than the whole")
        if input_parts > self.input_tokens or max(self.reasoning_tokens, self.audio_output_tokens) > self.output_tokens:
            raise UsageInvalid("a part of the usage is larger than the whole")
        if max(self.input_tokens, self.output_tokens) > TOKENS_MAX or self._any_negative():
            raise UsageInvalid("a count is out of range")

    def _any_negative(self) -> bool:
        return (
            self.cached_input_tokens < 0
            or self.cache_write_tokens < 0
            or self.audio_input_tokens < 0
            or self.reasoning_tokens < 0
            or self.audio_output_tokens < 0
            or self.cache_write_long_tokens < 0
            or self.cached_audio_tokens < 0
        )

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def uncached_tokens(self) -> int:
        """The total without cache reads (SEMANTICS.md rule 25)."""
        return self.total_tokens - self.cached_input_tokens


def from_openai(report: object, *, output: bool = True) -> Usage | None:
    """The `usage` member of a chat completion, completion or embedding reply, or of a chunk. None: no report.

    Some compatible servers leave reasoning out of `completion_tokens` but not out of `total_tokens`; what the total has
    more is output. `output=False`: the reply is of a kind that has none. Raises UsageInvalid.
    """
    return _from_inclusive(report, "prompt_tokens", "completion_tokens", output=output)


def from_responses(report: object) -> Usage | None:
    """The `usage` member of a response, an image or a transcription: the same figures under other names. None: no
    report. Raises UsageInvalid."""
    return _from_inclusive(report, "input_tokens", "output_tokens", output=True)


def _from_inclusive(report: object, of_input: str, of_output: str, *, output: bool) -> Usage | None:
    if report is None:
        return None
    usage = report_object("usage", report)
    total_tokens = report_count(usage, "total_tokens")
    input_tokens, output_tokens = report_count(usage, of_input), report_count(usage, of_output)
    # Two of input, output and total tell the third; a reply that has no output tells its input by either.
    if [input_tokens, output_tokens, total_tokens].count(None) > (1 if output else 2):
        return None
    output_tokens = output_tokens or 0
    if input_tokens is None:
        if total_tokens is None:
            return None
        input_tokens = max(0, total_tokens - output_tokens)
    output_tokens = max(output_tokens, (total_tokens or 0) - input_tokens)

    cached = cache_write = audio_input = reasoning = audio_output = 0
    if details := usage.get(f"{of_input}_details"):
        of_input_parts = report_object(f"{of_input}_details", details)
        cached = report_count(of_input_parts, "cached_tokens") or 0
        cache_write = report_count(of_input_parts, "cache_write_tokens") or 0
        audio_input = report_count(of_input_parts, "audio_tokens") or 0
    if details := usage.get(f"{of_output}_details"):
        of_output_parts = report_object(f"{of_output}_details", details)
        reasoning = report_count(of_output_parts, "reasoning_tokens") or 0
        audio_output = report_count(of_output_parts, "audio_tokens") or 0
    if cached + cache_write + audio_input <= input_tokens and max(reasoning, audio_output) <= output_tokens:
        return Usage(input_tokens, cached, cache_write, output_tokens, reasoning, audio_input, audio_output)
    return fitted(input_tokens, (cached, cache_write, audio_input), output_tokens, (reasoning, audio_output))


def from_anthropic(report: object, earlier: Usage | None = None, *, start: bool = False) -> Usage | None:
    """The `usage` member of a message, of `message_start` or of `message_delta`. None: no report. Raises UsageInvalid.

    There `input_tokens` leaves out what was read from or written to a cache, so the three are added up; output holds
    thinking. Writes are told by how long they are kept where the server tells it. Only after an `earlier` report of the
    same stream may the input side be left out, and the output side only at the `start` of one.
    """
    if report is None:
        return None
    usage = report_object("usage", report)
    fresh, output_tokens = report_count(usage, "input_tokens"), report_count(usage, "output_tokens")
    if (output_tokens is None and not start) or (fresh is None and earlier is None):
        return None
    cached = report_count(usage, "cache_read_input_tokens") or 0
    written = report_count(usage, "cache_creation_input_tokens") or 0
    long = short = 0
    if by_life := usage.get("cache_creation"):
        details = report_object("cache_creation", by_life)
        short = report_count(details, "ephemeral_5m_input_tokens") or 0
        long = report_count(details, "ephemeral_1h_input_tokens") or 0
    thinking = 0
    if of_output := usage.get("output_tokens_details"):
        thinking = report_count(report_object("output_tokens_details", of_output), "thinking_tokens") or 0
    written = max(written, short + long)
    output_tokens = output_tokens or 0
    return Usage(
        (fresh or 0) + cached + written,
        cached,
        written,
        output_tokens,
        min(thinking, output_tokens),
        clamped=thinking > output_tokens,
        cache_write_long_tokens=long,
    )


def largest_report(earlier: Usage | None, later: Usage | None) -> Usage | None:
    """Of two reports of one call in the Anthropic wire format: the larger of each figure.

    `message_start` has the input side, `message_delta` is cumulative and may leave out or raise what came before.
    """
    if earlier is None or later is None:
        return later or earlier
    larger = {name: max(getattr(earlier, name), getattr(later, name)) for name in _COUNTS}
    found = fitted(
        larger["input_tokens"],
        (larger["cached_input_tokens"], larger["cache_write_tokens"], larger["audio_input_tokens"]),
        larger["output_tokens"],
        (larger["reasoning_tokens"], larger["audio_output_tokens"]),
        larger["cache_write_long_tokens"],
        larger["cached_audio_tokens"],
    )
    return replace(found, clamped=True) if earlier.clamped or later.clamped else found


def fitted(
    input_tokens: int,
    input_parts: tuple[int, int, int],
    output_tokens: int,
    output_parts: tuple[int, int],
    cache_write_long: int = 0,
    cached_audio: int = 0,
) -> Usage:
    """A usage whose parts fit: what was reported larger than its whole is cut to it and the usage is marked.

    `input_parts` are cache reads, cache writes and audio, `output_parts` reasoning and audio.
    """
    # Cache reads are cut first: they are the cheap part, and a false one would be a discount nobody gave.
    room = input_tokens
    fitting = []
    for part in reversed(input_parts):
        fitting.append(min(part, room))
        room -= fitting[-1]
    audio_input, cache_write, cached = fitting
    reasoning, audio_output = (min(part, output_tokens) for part in output_parts)
    return Usage(
        input_tokens,
        cached,
        cache_write,
        output_tokens,
        reasoning,
        audio_input,
        audio_output,
        cache_write_long_tokens=min(cache_write_long, cache_write),
        cached_audio_tokens=min(cached_audio, cached),
        clamped=(cached, cache_write, audio_input) != input_parts or (reasoning, audio_output) != output_parts,
    )


def report_object(name: str, value: object) -> Mapping[str, object]:
    """A part of a report that is an object. Raises UsageInvalid."""
    if not isinstance(value, dict):
        raise UsageInvalid(f"{name} is not an object")
    return value


def report_count(report: Mapping[str, object], name: str) -> int | None:
    """A figure of a report, None where it has none. Raises UsageInvalid for one that cannot be true."""
    value = report.get(name)
    if value is None:
        return None
    # bool is an int to Python; to a provider it is a fault.
    if type(value) is not int:
        raise UsageInvalid(f"{name} is not an integer")
    if not 0 <= value <= TOKENS_MAX:
        raise UsageInvalid(f"{name} is out of range")
    return value


_COUNTS = tuple(field.name for field in fields(Usage) if field.name.endswith("_tokens"))
