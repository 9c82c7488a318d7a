"""The books: what is written down about calls, and the only ways in which a hold can end.

held -> settled | voided | expired, each exactly once; rows are append-only, a correction is a new row. Every entry here
becomes one row of the hash-chained journal, in the order in which it was committed, in the transaction that also moves
the tables derived from it (calls, rollups, sessions). Entries carry pseudonymous ids only (rule 12): no prompt, no
argument, no name, only keyed digests. All times are microseconds since the epoch, money is micro-USD.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.core.attribution import Attribution
from gateway.core.identity import VirtualKey
from gateway.core.quota_request import QuotaRequest
from gateway.core.session import Session
from gateway.core.stop import Stop
from gateway.core.usage import Usage
from gateway.core.value import value


class CallState(StrEnum):
    HELD = "held"
    SETTLED = "settled"
    VOIDED = "voided"
    EXPIRED = "expired"


ENDINGS: Mapping[CallState, frozenset[CallState]] = {
    CallState.HELD: frozenset({CallState.SETTLED, CallState.VOIDED, CallState.EXPIRED}),
    CallState.SETTLED: frozenset(),
    CallState.VOIDED: frozenset(),
    CallState.EXPIRED: frozenset(),
}


@value
class Amounts:
    """What one call moves on the counters. Input and output in the inclusive convention of `Usage`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    usd_micros: int = 0
    requests: int = 0
    tool_calls: int = 0

    def plus(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.usd_micros + other.usd_micros,
            self.requests + other.requests,
            self.tool_calls + other.tool_calls,
        )


@value
class HoldPlaced:
    """A call was allowed and its upper bound is held. Durable before anything leaves for the upstream.

    `prompt_tokens` is the prompt bound; `usual_output_tokens` is what an orphan of a call that does not stream is
    booked with (rule 8); `sliced` says that `held.output_tokens` are slices which top-ups raise. `would_deny`
    names limits and policy rows that observe and would have refused it; `routed_from` is the model alias that was
    asked for where a limit or a loop sent the call to another one.
    """

    call_id: str
    at_us: int
    session_id: str
    attribution: Attribution
    kind: str
    held: Amounts
    prompt_tokens: int
    prompt_usd_micros: int
    usual_output_tokens: int
    stream: bool
    sliced: bool
    upstream_model: str
    policy_version: str
    rule: str | None
    request_digest: str
    limits: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    would_deny: tuple[str, ...] = ()
    routed_from: str = ""


@dataclass(frozen=True, slots=True)
class HoldRaised:
    """A stream took its next slice; `held` is the whole hold after it."""

    call_id: str
    at_us: int
    held: Amounts


class Outcome(StrEnum):
    """How a call ended, as reports group it."""

    OK = "ok"
    CUT_BY_CLIENT = "cut_by_client"
    CUT_BY_UPSTREAM = "cut_by_upstream"
    CUT_BY_LIMIT = "cut_by_limit"
    CUT_BY_STOP = "cut_by_stop"
    UPSTREAM_ERROR = "upstream_error"
    ORPHAN = "orphan"


@value
class CallSettled:
    """What a call really cost. `estimated` names the rule when it is not the provider's own report (None = reported).

    `posted` is what moves the counters; `meters` are (meter, tokens or units, micro-USD) lines that sum to its money;
    `overrun` is posted minus held where positive. `price_source` names the price book entry. `denial` is set
    where we ended the call ourselves: what its caller was told.
    """

    call_id: str
    at_us: int
    started_at_us: int
    session_id: str
    attribution: Attribution
    outcome: Outcome
    usage: Usage | None
    posted: Amounts
    meters: tuple[tuple[str, int, int], ...]
    estimated: str | None
    overrun: Amounts | None
    price_source: str
    status: int
    ours_us: int
    upstream_us: int
    first_byte_us: int | None
    denial: Mapping[str, Any] | None = None


@value
class CallVoided:
    """Nothing was charged: the hold is given back (connection refused, upstream error without usage)."""

    call_id: str
    at_us: int
    reason: str
    status: int


@dataclass(frozen=True, slots=True)
class CallDenied:
    """A refused call. Moves no counter; `denial` is the machine-readable object that the caller got."""

    call_id: str
    at_us: int
    session_id: str
    attribution: Attribution
    kind: str
    code: str
    denial: Mapping[str, Any]
    policy_version: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Refusals:
    """Unauthenticated or repeated refusals of one minute summed in one row (rule 33)."""

    at_us: int
    reason: str
    source: str
    count: int


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A session was opened, reopened, paused, resumed, stopped or closed; `session` is its state after that."""

    at_us: int
    session: Session
    action: str
    actor: str
    attribution: Attribution | None = None


@dataclass(frozen=True, slots=True)
class AdminChanged:
    """Something a person or the configuration changed: keys, policy, limits. `detail` holds no secret."""

    at_us: int
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeySaved:
    """A virtual key was created or changed; `key` is its state after that. Its names go to the keys table, the journal
    row holds the key's id, its pseudonyms and what was done."""

    at_us: int
    actor: str
    action: str
    key: VirtualKey


@dataclass(frozen=True, slots=True)
class QuotaRequestChanged:
    """A request for more was opened, decided or withdrawn, or its raise was first used, ended or given unasked;
    `request` is its state after that. Its free texts go beside the journal, where they can be erased."""

    at_us: int
    actor: str
    action: str
    request: QuotaRequest


@dataclass(frozen=True, slots=True)
class StopChanged:
    """A whole agent, key, user or team was paused, stopped or let go on; `stop` is how it stands after that."""

    at_us: int
    actor: str
    stop: Stop


Entry = (
    HoldPlaced
    | HoldRaised
    | CallSettled
    | CallVoided
    | CallDenied
    | Refusals
    | SessionChanged
    | StopChanged
    | AdminChanged
    | KeySaved
    | QuotaRequestChanged
)


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A hold that has no ending yet, as read back at start: its owner died (rule 8)."""

    placed_at_us: int
    call_id: str
    session_id: str
    attribution_id: str
    held: Amounts
    prompt_tokens: int
    prompt_usd_micros: int
    usual_output_tokens: int
    stream: bool
    sliced: bool


def orphan_posting(hold: OpenHold) -> Amounts:
    """What the call of a dead owner is booked with (rule 8): counted as sent, at most its hold.

    The prompt bound, plus the slices of a sliced stream, plus the session's usual output for every other call; the
    money in proportion to the output part of the hold, rounded up.
    """
    held_output = hold.held.output_tokens
    output = held_output if hold.sliced else min(held_output, hold.usual_output_tokens)
    output_money = hold.held.usd_micros - hold.prompt_usd_micros
    share = output_money if output == held_output else -(-output_money * output // held_output)
    return Amounts(
        input_tokens=min(hold.prompt_tokens, hold.held.input_tokens),
        output_tokens=output,
        usd_micros=min(hold.held.usd_micros, hold.prompt_usd_micros + share),
        requests=hold.held.requests,
        tool_calls=hold.held.tool_calls,
    )
