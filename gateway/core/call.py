"""One call on its way through the line: what each station adds for the next one.

Values only; who changes what is said in `gateway/pipeline`. Times are microseconds of the wall clock for the books, and
nanoseconds of the monotonic clock for durations.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from gateway.core.attribution import Attribution
from gateway.core.condition_context import AttributeValue
from gateway.core.decision import CallDecision
from gateway.core.identity import VirtualKey
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import OPENAI_CHAT
from gateway.core.wire.multipart import Form


class Kind(StrEnum):
    """What is called."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    IMAGES = "images"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"
    MODERATION = "moderation"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Caller:
    """An identified key with what was worked out about it once: subjects with roles, attributes for conditions, the
    attributions that its calls had so far, and decisions that look at nothing else (None = there is none)."""

    key: VirtualKey
    subjects: frozenset[str]
    roles: tuple[str, ...]
    principal: Mapping[str, AttributeValue]
    attributions: dict[Hashable, Attribution] = field(default_factory=dict, compare=False, repr=False)
    standing: dict[Hashable, CallDecision | None] = field(default_factory=dict, compare=False, repr=False)

    @property
    def key_id(self) -> str:
        return self.key.id

    @property
    def key_name(self) -> str:
        return self.key.name


class Arrival(NamedTuple):
    """What the edge saw: headers in lower case, the parsed body, its size, when it came, in which wire format. `left`
    returns when the client is gone, where the edge can tell; `form` is the body as it came
    where it is one, and `body` then its fields, with the digest of each file."""

    headers: Mapping[str, str]
    body: Mapping[str, object]
    body_bytes: int
    at_us: int
    at_ns: int
    tags: tuple[tuple[str, str], ...] = ()
    end_user: str = "-"
    query: Mapping[str, str] = MappingProxyType({})
    left: Callable[[], Awaitable[object]] | None = None
    format: WireFormat = OPENAI_CHAT
    form: Form | None = None
    kind: Kind = Kind.CHAT
