"""The meter of a stream: an upper bound of the output that the provider can bill for what was seen (rule 2).

Every content event is at least one token, and no text has more tokens than bytes; what is counted exactly replaces its
bytes. Each wire format has a meter of its own on top that reads its events.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from gateway.core.media import NO_MEDIA, Media
from gateway.core.usage import Usage, UsageInvalid


class Meter(Protocol):
    """What the relay and the governor ask of a stream's meter."""

    events: int
    usage: Usage | None
    usage_bad: bool
    output_told: int
    served_tier: str | None

    @property
    def finished(self) -> bool:
        """Whether the whole answer was seen: many clients hang up there, not at the stream's end."""

    @property
    def used(self) -> Media:
        """What the answer used, as far as it came, that is billed beside tokens."""

    @property
    def reported(self) -> Usage | None:
        """The provider's report, None if there is none that can be true and that is not older than what was seen."""

    @property
    def bound(self) -> int:
        """At least as many tokens as the provider can bill for what was seen."""

    @property
    def text_bound(self) -> int:
        """The same by the text alone, for servers that cut a token into several events."""

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        """Takes the next event's data in. True = it tells nothing but usage, and is there only where that was asked
        for."""

    def uncounted(self) -> str:
        """The text that stands in the bound with its bytes, until `counted` says how many tokens it has."""

    def counted(self, text: str, tokens: int) -> None:
        """`text`, as `uncounted` gave it, has this many tokens: no more than its bytes, which it replaces."""

    def tool_calls(self) -> Iterator[tuple[str, str]]:
        """(name, arguments) of the tool calls that the reply made, as far as they came."""


class TextMeter:
    """The part of a meter that is the same in every format."""

    __slots__ = (
        "_counted",
        "_fresh",
        "_fresh_bytes",
        "_reported_events",
        "events",
        "output_told",
        "served_tier",
        "usage",
        "usage_bad",
    )

    def __init__(self) -> None:
        self.events = 0
        self.usage: Usage | None = None
        self.usage_bad = False
        self.output_told = 0
        self.served_tier: str | None = None
        self._counted = 0
        self._fresh: list[str] = []
        self._fresh_bytes = 0
        self._reported_events = 0

    @property
    def used(self) -> Media:
        return NO_MEDIA

    @property
    def reported(self) -> Usage | None:
        return None if self.usage_bad or self.events > self._reported_events else self.usage

    @property
    def bound(self) -> int:
        return max(self.events, self.text_bound)

    @property
    def text_bound(self) -> int:
        return self._counted + self._fresh_bytes

    def uncounted(self) -> str:
        if len(self._fresh) > 1:
            self._fresh = ["".join(self._fresh)]
        return self._fresh[0] if self._fresh else ""

    def counted(self, text: str, tokens: int) -> None:
        size = len(text.encode("utf-8", "surrogatepass"))
        del self._fresh[0]
        self._fresh_bytes -= size
        self._counted += min(tokens, size)

    def _last_report(self, read: Callable[[Any], Usage | None], report: Any) -> Usage | None:
        """Takes in a report of a format whose reports are cumulative: the last that can be true is billed, even where
        it is lower. None: it tells nothing."""
        try:
            found = read(report)
        except UsageInvalid:
            self.usage_bad = True
            return None
        if found is not None:
            self.usage, self.usage_bad = found, False
        return found

    def _text(self, text: str) -> None:
        self._fresh.append(text)
        self._fresh_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
