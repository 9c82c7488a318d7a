"""What governance needs to know of a model request, whatever wire format it came in; the body itself is passed on."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class FieldRefused(Exception):
    """A field that is malformed (`unsupported` False) or that this gateway does not serve."""

    def __init__(self, field: str, message: str, *, unsupported: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.unsupported = unsupported


class ContentFacts(NamedTuple):
    """What in the messages is not inline text (rule 3)."""

    images: int
    data_url_bytes: int
    audio_parts: int
    file_parts: int


NO_CONTENT_BUT_TEXT = ContentFacts(0, 0, 0, 0)


class Searches(NamedTuple):
    """The most that a provider-run tool may do in one answer: searches of the web, of stored files, pages fetched.
    What `read` of them find becomes input that is billed."""

    web: int = 0
    files: int = 0
    fetches: int = 0
    read: int = 0


class RequestFacts(NamedTuple):
    """`include_usage` = the client asked for an event that only tells usage; `thinking_tokens` = what of its
    maximum the client leaves to thinking, which a cap must not touch; `hidden` = output is billed that is not shown.

    `provider_tools` are those that the provider runs, under their names in policies; `searches` what those of them do
    that are billed by the search; `unpriced` those that have a fee which no price covers: policy may strip them, else
    the call is refused."""

    model: str
    stream: bool
    include_usage: bool
    choices: int
    client_max_tokens: int | None
    max_field: str | None
    tools: tuple[str, ...]
    service_tier: str
    content: ContentFacts
    thinking_tokens: int = 0
    hidden: bool = False
    provider_tools: tuple[str, ...] = ()
    unpriced: tuple[str, ...] = ()
    searches: tuple[tuple[str, Searches], ...] = ()


def flag(body: Mapping[str, Any], field: str) -> bool:
    """A field that is true or false; false where it is not there. Raises FieldRefused."""
    value = body.get(field)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise FieldRefused(field, f"`{field}` must be true or false")
    return value
