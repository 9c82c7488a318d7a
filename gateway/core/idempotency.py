"""One upstream call and one charge for each Idempotency-Key: what is kept of a key, and what a second request is told.

A key is valid inside one virtual key. What survives a crash is written with the hold: digests of key and body, and the
call. What was answered is kept in memory only, for a while: content is written nowhere.
"""

import re
from dataclasses import dataclass

from gateway.core.denial import Code, Denial
from gateway.core.ledger import CallState

HEADER = "idempotency-key"
REPLAYED = "x-comptroller-replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class ReplayRules:
    """How long a key is remembered, and how many bytes of replies are kept for replays, in all and of one."""

    kept_for_us: int = 86_400_000_000
    bytes_max: int = 64 * 1024 * 1024
    reply_bytes_max: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeyUsed:
    """To be written with a call's hold. Digests are keyed and in hex."""

    key_id: str
    key_digest: str
    body_digest: str
    call_id: str
    at_us: int


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """The latest call that came with a key, as the books know it. `state` None: its hold is not there any more."""

    call_id: str
    body_digest: str
    state: CallState | None
    usd_micros: int


def well_formed(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


def malformed() -> Denial:
    text = "Idempotency-Key must be 1 to 255 visible ASCII characters."
    return Denial(Code.REQUEST_MALFORMED, text, field=HEADER)


def mismatch() -> Denial:
    text = "This Idempotency-Key came with another request before. Use a new key for a new request."
    return Denial(Code.IDEMPOTENCY_MISMATCH, text, field=HEADER)


def reply_gone(call_id: str, state: CallState | None, usd_micros: int | None) -> Denial:
    """The call was made, its answer is not here to be given again, and making it again would charge it again.
    `usd_micros` None: it is not known here."""
    if state is CallState.HELD:
        charged = "it is still being booked"
    elif usd_micros is None:
        charged = "it was charged"
    else:
        charged = f"it was charged {usd_micros / 1_000_000:.6f} USD"
    text = (
        f"Call {call_id} was already made with this Idempotency-Key and {charged}, but its answer is not kept any "
        "more. It is not made again; to make it again, use a new key."
    )
    return Denial(Code.IDEMPOTENCY_REPLY_GONE, text, field=HEADER)
