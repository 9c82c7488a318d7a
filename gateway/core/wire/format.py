"""A wire format as the data plane sees it: how requests are read, replies metered, conversations traced, streams ended.

Formats are tables of pure functions, so that the line of a call has no branch for any of them;
`gateway.core.wire.formats` names them all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from gateway.core.media import NO_MEDIA, Media
from gateway.core.sse import SseDecoder
from gateway.core.usage import Usage
from gateway.core.wire.exchange import Exchange
from gateway.core.wire.facts import RequestFacts
from gateway.core.wire.metering import Meter
from gateway.core.wire.neutral import Half
from gateway.core.wire.rate_headers import openai_rates
from gateway.core.wire.task import Task


class Framed(Protocol):
    """One event of a stream: its payload, empty where there is none, and its bytes as they came."""

    @property
    def data(self) -> bytes: ...

    @property
    def raw(self) -> bytes: ...


class Decoder(Protocol):
    """Cuts a stream into events as it arrives. Raises SseTooLarge and FrameBroken."""

    def feed(self, chunk: bytes) -> Sequence[Framed]: ...

    def flush(self) -> Sequence[Framed]:
        """What the stream ended with."""


class StreamEnd(Protocol):
    """Ends a stream early in the form that its clients understand (rule 32)."""

    @property
    def watching(self) -> bool:
        """Whether it wants to see the next event that goes to the client."""

    def saw(self, chunk: Mapping[str, Any]) -> None: ...

    def usage(self, usage: Usage) -> bytes:
        """The event that tells usage, for a client that asked for one."""

    def error(self, message: str, code: str, machine: Mapping[str, Any]) -> bytes:
        """The last event."""


class Outgoing(Protocol):
    """Makes the body that is sent: the client's, with the upstream's name of the model, the cap and what a report of
    usage needs. `cap` None = the client's own stays."""

    def __call__(
        self,
        body: Mapping[str, Any],
        facts: RequestFacts,
        *,
        model: str,
        cap: int | None,
        cap_field: str,
        ask_usage: bool,
    ) -> Mapping[str, Any]: ...


def messages_member(body: Mapping[str, Any]) -> list[Any]:
    """The growing list of the conversation, where the format calls it `messages`."""
    messages: list[Any] = body["messages"]
    return messages


class Requests(NamedTuple):
    """Reading and writing requests. `read` and `without_tools` raise FieldRefused.

    `messages` gives the growing list of what was said, `beside` what else adds to the prompt, `texts` all inline text
    as a tokenizer should count it; the fields `aside` say nothing about whether two requests are the same.
    """

    read: Callable[[Mapping[str, Any]], RequestFacts]
    outgoing: Outgoing
    without_tools: Callable[[Mapping[str, Any], frozenset[str]], Mapping[str, Any]]
    beside: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    texts: Callable[[Mapping[str, Any]], Sequence[str]]
    aside: frozenset[str]
    messages: Callable[[Mapping[str, Any]], list[Any]] = messages_member


def nothing_used(_reply: Mapping[str, Any]) -> Media:
    """Of formats whose answers are billed by tokens alone."""
    return NO_MEDIA


class Replies(NamedTuple):
    """Reading a whole reply. `usage` gives (usage, bad): `bad` = there is a report and it cannot be true; `calls` gives
    (name, arguments) of the tool calls; `tier` the service tier that it was served by; `used` what it used that
    is billed beside tokens."""

    usage: Callable[[Mapping[str, Any]], tuple[Usage | None, bool]]
    text: Callable[[Mapping[str, Any]], str]
    calls: Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]
    tier: Callable[[Mapping[str, Any]], str | None]
    used: Callable[[Mapping[str, Any]], Media] = nothing_used


class Conversation(NamedTuple):
    """Reading the messages of a request for loop detection: the exchanges that begin after the first so many messages
    (0 = only the last), how it began, and whether the model has said something in it (rule 24)."""

    exchanges: Callable[[Sequence[Any], int], list[Exchange]]
    beginning: Callable[[Sequence[Any]], str]
    answered: Callable[[Sequence[Any]], bool]


RateHeaders = Callable[[str, int, int, int | None, int], dict[str, str]]
"""From `requests` or `tokens`, the limit, what remains, when it resets (None = never) and now, in microseconds."""

MODEL = "{model}"
"""Stands in a path for the upstream's name of the model."""


@dataclass(frozen=True, slots=True)
class WireFormat:
    """`title` is its name for people, `path` where a provider of this format takes requests, below its base address;
    `stream_path` where it takes those for a stream, if elsewhere; `stream_type` is the content type of streams;
    `cap_field` caps the output, None = which field does depends on the deployment. With a `half` it can be translated
    to and from other formats that have one. With a `task` it is no conversation, and only that is asked.

    Of a client's headers and query only those that are named here go along, byte for byte.
    """

    name: str
    title: str
    path: str
    requests: Requests
    replies: Replies
    conversation: Conversation
    meter: Callable[[], Meter]
    ending: Callable[[], StreamEnd]
    cap_field: str | None = None
    passed_headers: tuple[str, ...] = ()
    passed_query: tuple[str, ...] = ()
    stream_path: str | None = None
    decoder: Callable[[], Decoder] = SseDecoder
    stream_type: str = "text/event-stream; charset=utf-8"
    half: Half | None = None
    rates: RateHeaders = openai_rates
    task: Task | None = None

    def path_for(self, *, stream: bool) -> str:
        return self.stream_path if stream and self.stream_path is not None else self.path
