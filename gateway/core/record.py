"""What is told about a finished call: one canonical log line, one set of metrics. No prompt, no key, no argument."""

from typing import NamedTuple


class CallRecord(NamedTuple):
    """`outcome` is the ledger's outcome, or `denied`. Durations in microseconds: ours apart from the upstream's.
    `would_deny` as in `Hold`."""

    call_id: str
    kind: str
    session_id: str
    key_id: str
    model: str
    provider: str
    tool: str
    outcome: str
    code: str
    status: int
    stream: bool
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_usd_micros: int
    estimated: str
    overrun: bool
    ours_us: int
    upstream_us: int
    first_byte_us: int
    would_deny: tuple[str, ...] = ()
