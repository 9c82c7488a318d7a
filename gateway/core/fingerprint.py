"""Telling the runs of one key apart that send no mark: by how their conversation began (rule 13, opt-in; what goes into
it is from research/clients.md section 4). It groups, and proves nothing: two runs that begin with the same words are
one until the number of messages falls back, and a client that rewords its system text at every turn is many.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.core.session import FINGERPRINT, SessionMark
from gateway.core.wire.format import WireFormat

BYTES = 16
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
"""Where formats have their system text beside the messages."""
_SYSTEM_ROLES = ("system", "developer")
_ELSEWHERE = ("previous_response_id", "conversation")
"""With these a request holds only what is new, so how its conversation began is not in it."""


def fingerprint_of(
    key: bytes, wire: WireFormat, headers: Mapping[str, str], body: Mapping[str, Any]
) -> tuple[SessionMark, int] | None:
    """The mark of a conversation, and how many messages it has; None where it shows nothing of its beginning. The body
    is one that its format has read already. `key` = at most 64 bytes that are this installation's own: the mark goes
    into the books, and is no way to try which words it was made from (rule 12)."""
    if any(body.get(name) for name in _ELSEWHERE):
        return None
    messages = wire.requests.messages(body)
    begins = wire.conversation.beginning(messages)
    system = "\n".join(_system_texts(body, messages))
    if not begins and not system:
        return None
    program = headers.get("user-agent", "").partition("/")[0].strip().lower()
    digest = hashlib.blake2b(key=key, digest_size=BYTES)
    for text in (program, system, begins):
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return SessionMark(FINGERPRINT, digest.hexdigest()), len(messages)


def _system_texts(body: Mapping[str, Any], messages: Sequence[Any]) -> Iterator[str]:
    for name in _SYSTEM:
        yield from _texts(body.get(name))
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") not in _SYSTEM_ROLES:
            return
        yield from _texts(message.get("content"))


def _texts(value: Any) -> Iterator[str]:
    """Of a text, a list of parts, or an object that holds one of these."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _text_of(part)
    elif isinstance(value, Mapping):
        yield from _texts(value.get("parts"))
        yield from _text_of(value)


def _text_of(part: Any) -> Iterator[str]:
    text = part.get("text") if isinstance(part, Mapping) else part
    if isinstance(text, str):
        yield text
