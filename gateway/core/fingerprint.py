"""Telling the runs of one key apart that send no mark: by how their conversation began (rule 13, opt-in; what goes into
it is from research/clients.md section 4). It groups, and proves nothing: of runs that begin with the same words a
call goes on with one whose latest message it repeats, and a client that rewords its system text at every turn is many.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.core.session import FINGERPRINT, SessionMark
from gateway.core.wire.format import WireFormat

BYTES = 16
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
"""Where formats have their system text beside the messages."""
_SYSTEM_ROLES = ("system", "developer")
_ELSEWHERE = ("previous_response_id", "conversation")
"""With these a request holds only what is new, so how its conversation began is not in it."""


class Reached(NamedTuple):
    """How far a conversation has come: its number of messages, and what the last of them says. It is kept in memory
    only."""

    length: int = 0
    last: bytes = b""

    def within(self, messages: Sequence[Any]) -> bool:
        """Whether this is an earlier state of them."""
        return 0 < self.length <= len(messages) and _said(messages[self.length - 1]) == self.last


NOWHERE = Reached()


def reached(messages: Sequence[Any]) -> Reached:
    return Reached(len(messages), _said(messages[-1])) if messages else NOWHERE


def fingerprint_of(
    key: bytes, wire: WireFormat, headers: Mapping[str, str], body: Mapping[str, Any]
) -> tuple[SessionMark, Sequence[Any]] | None:
    """The mark of a conversation, and its messages; None where it shows nothing of its beginning. The body
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
    return SessionMark(FINGERPRINT, digest.hexdigest()), messages


def _said(message: Any) -> bytes:
    return hashlib.blake2b(json.dumps(message).encode(), digest_size=BYTES).digest()


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
