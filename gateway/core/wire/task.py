"""Calls that are no conversation: one input, one result; what governance needs to know of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.core.media import NO_MEDIA, Media
from gateway.core.usage import Usage
from gateway.core.wire.multipart import Form


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """`texts` are what a tokenizer counts, `ready_tokens` what else the input has at most. `output_tokens` is the most
    that the result can be billed for, where the model is billed by tokens; `media` the most that it uses of other
    units; `free` = no provider bills it."""

    model: str
    texts: tuple[str, ...]
    ready_tokens: int
    inputs: int
    media: Media = NO_MEDIA
    output_tokens: int = 0
    free: bool = False


class TaskReply(NamedTuple):
    """A result as it is billed: `bad` = there is a report and it cannot be true; `text` is billed output where there is
    no report; `media` what was used of other units, None = not said."""

    usage: Usage | None = None
    bad: bool = False
    text: str = ""
    media: Media | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """`read` takes the body, or the fields of a form beside the form; raises FieldRefused. `outgoing` names the model.
    `reply` takes the content, its type and the facts' media; raises ValueError for what is no such result."""

    read: Callable[[Mapping[str, Any], Form | None], TaskFacts]
    reply: Callable[[bytes, str, Media], TaskReply]
    outgoing: Callable[[Mapping[str, Any], str], Mapping[str, Any]] = field(
        default=lambda body, model: {**body, "model": model}
    )
