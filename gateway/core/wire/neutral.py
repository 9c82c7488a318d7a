"""What all wire formats of conversations can say, in one form: a request, a reply and the deltas of a stream.

Where the client's format is not its provider's, a request goes through this form and its reply comes back through it.
Rule: what has no place here is refused by its name in the client's spelling, or, where leaving it out changes neither
what is asked nor what it may cost, left out and said so (`left_out`). Nothing is dropped silently.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from gateway.core.usage import Usage
from gateway.core.wire.answer_shape import Shape
from gateway.core.wire.untranslatable import untranslatable


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """By `url`, or inline: base64 `data` of a `media_type`. `detail` is how closely OpenAI's models look at it."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """`arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    id: str
    parts: tuple["Text | Image", ...]
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Thinking:
    """Shown reasoning. It is not sent back to another family: its signature means something to its maker only."""

    text: str


Part = Text | Image | ToolUse | ToolResult | Thinking


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """`schema` is the JSON Schema of its arguments; `strict` = calls must follow it; `spelled` = how a call of it is
    written to the client, where that is not as a function of this name: members of the item."""

    name: str
    description: str
    schema: Mapping[str, Any]
    spelled: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False


class Choice(StrEnum):
    """Whether the model must call a tool."""

    AUTO = "auto"
    NONE = "none"
    ANY = "any"
    ONE = "one"


@dataclass(frozen=True, slots=True)
class NeutralRequest:
    """`chosen_tool` goes with Choice.ONE; `parallel` False = at most one tool call an answer; `shape` is that of the
    answer, None = free text."""

    messages: tuple[Message, ...]
    system: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: Choice | None = None
    chosen_tool: str = ""
    parallel: bool = True
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    end_user: str = ""
    shape: Shape | None = None
    left_out: tuple[str, ...] = ()


class Stop(StrEnum):
    """Why an answer ended."""

    END = "end"
    LENGTH = "length"
    TOOL_USE = "tool_use"
    SEQUENCE = "sequence"
    FILTER = "filter"


@dataclass(frozen=True, slots=True)
class NeutralReply:
    id: str
    model: str
    parts: tuple[Part, ...]
    stop: Stop
    usage: Usage | None
    tools: tuple[Tool, ...] = ()
    """Those that the client declared, for a format in which calls of them differ."""


class Declared(NamedTuple):
    """Comes before a stream: the tools that the client declared."""

    tools: tuple[Tool, ...]


class Started(NamedTuple):
    id: str
    model: str


class TextDelta(NamedTuple):
    text: str


class ThinkingDelta(NamedTuple):
    text: str


class ToolStarted(NamedTuple):
    id: str
    name: str


class ToolArguments(NamedTuple):
    """More of the arguments of the tool call that started last."""

    text: str


class Ended(NamedTuple):
    stop: Stop


class Reported(NamedTuple):
    """All usage so far."""

    usage: Usage


class Finished(NamedTuple):
    """Nothing more comes."""


class Failed(NamedTuple):
    """The provider breaks off its answer, in its own words, which may be none."""

    text: str


Delta = (
    Declared | Started | TextDelta | ThinkingDelta | ToolStarted | ToolArguments | Ended | Reported | Finished | Failed
)


class StreamReader(Protocol):
    def feed(self, chunk: Mapping[str, Any]) -> list[Delta]: ...

    def rest(self) -> list[Delta]:
        """What was kept back, of a stream that is over without a word for its end."""


class StreamWriter(Protocol):
    """Makes a stream of one format. Whatever is open is closed by `Finished`."""

    def write(self, delta: Delta) -> list[Mapping[str, Any]]:
        """The data of the events that say it."""

    def encoded(self, chunk: Mapping[str, Any]) -> bytes: ...

    def last(self) -> bytes:
        """What stands behind the last event."""


class Half(NamedTuple):
    """One format's part of translation. `read_request` raises FieldRefused; so does `write_request`, which gets the
    upstream's name of the model and the most output that is held, with a field's name here, which `spelled` has as
    clients of the format write it (`parallel` = more than one tool call an answer, `shape` = that of the answer).
    `details` = it can say how closely an image is to be looked at. `error_text` gives what an error body says,
    `error_body` writes one."""

    read_request: Callable[[Mapping[str, Any]], NeutralRequest]
    write_request: Callable[[NeutralRequest, str, int, str], Mapping[str, Any]]
    read_reply: Callable[[Mapping[str, Any]], NeutralReply]
    write_reply: Callable[[NeutralReply], Mapping[str, Any]]
    reader: Callable[[], StreamReader]
    writer: Callable[[bool], StreamWriter]
    error_text: Callable[[Mapping[str, Any]], str]
    error_body: Callable[[int, str], Mapping[str, Any]]
    spelled: Mapping[str, str] = MappingProxyType({})
    details: bool = False


def texts(parts: Iterable[Part], field: str) -> list[str]:
    """Of system text, which holds nothing else between families. Raises FieldRefused."""
    found = []
    for part in parts:
        if not isinstance(part, Text):
            raise untranslatable(field, f"`{field}` with anything but text for the system")
        found.append(part.text)
    return found


def joined(messages: list[Message]) -> tuple[Message, ...]:
    """With neighbours of one role made one message; empty ones left out."""
    found: list[Message] = []
    for message in messages:
        if not message.parts:
            continue
        if found and found[-1].role is message.role:
            found[-1] = Message(message.role, found[-1].parts + message.parts)
        else:
            found.append(message)
    return tuple(found)
