"""The one table from a denial to an HTTP answer in the OpenAI wire format (CONTRACT.md section 5, rules 30 and 31).

A denial that waiting cannot cure says `x-should-retry: false` and carries no retry-after, so that stock SDKs and agents
stop and show it: a final one, and a failure of the upstream that only an administrator can mend.
"""

import math
from collections.abc import Mapping
from typing import Final

import orjson

from gateway.core.denial import Code, Denial
from gateway.core.wire.openai_reply import error_body
from gateway.pipeline.answer import Headers, Whole, remaining_words

STATUS: Final[Mapping[Code, int]] = {
    Code.KEY_MISSING: 401,
    Code.KEY_UNKNOWN: 401,
    Code.KEY_EXPIRED: 401,
    Code.KEY_DISABLED: 401,
    Code.KEY_REVOKED: 401,
    Code.MODEL_DENIED: 400,
    Code.MODEL_UNKNOWN: 400,
    Code.TOOL_DENIED: 400,
    Code.RATE_LIMITED: 429,
    Code.CONCURRENCY_LIMITED: 429,
    Code.BUDGET_HELD: 429,
    Code.BUDGET_EXHAUSTED: 402,
    Code.SESSION_BUDGET_EXHAUSTED: 402,
    Code.LOOP_DETECTED: 402,
    Code.SESSION_PAUSED: 402,
    Code.SESSION_STOPPED: 402,
    Code.SESSION_EXPIRED: 402,
    Code.SESSION_LIMIT: 402,
    Code.AGENT_STOPPED: 402,
    Code.REQUEST_MALFORMED: 400,
    Code.REQUEST_TOO_LARGE: 413,
    Code.FIELD_UNSUPPORTED: 400,
    Code.PRICE_UNKNOWN: 400,
    Code.UPSTREAM_TIMEOUT: 504,
    Code.UPSTREAM_FAILED: 502,
    Code.UPSTREAM_QUOTA: 402,
    Code.UPSTREAM_INVALID: 502,
    Code.LEDGER_UNAVAILABLE: 503,
    Code.OVERLOADED: 503,
    Code.IDEMPOTENCY_MISMATCH: 422,
    Code.IDEMPOTENCY_REPLY_GONE: 409,
    Code.ROUTE_UNKNOWN: 404,
}  # fmt: skip

_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    404: "not_found_error",
    429: "rate_limit_error",
    502: "upstream_error",
    503: "service_unavailable",
    504: "upstream_error",
}


def refusal(denial: Denial) -> Whole:
    """The answer to a refused call."""
    status = STATUS[denial.code]
    kind = _TYPES.get(status, "invalid_request_error")
    body = error_body(denial.message, kind, denial.code.value, denial.machine(), denial.field)
    headers: Headers = {"content-type": "application/json"}
    if denial.call_id is not None:
        headers["x-comptroller-call"] = denial.call_id
    if denial.session_id is not None:
        headers["x-comptroller-session"] = denial.session_id
    if denial.limit is not None:
        limit = denial.limit
        headers["x-comptroller-remaining"] = remaining_words(
            limit.name, limit.unit, limit.remaining, limit.resets_at_us
        )
    if denial.final or denial.retry_after_s is None:
        headers["x-should-retry"] = "false"
    elif denial.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(denial.retry_after_s)))
        headers["retry-after-ms"] = str(max(1, math.ceil(denial.retry_after_s * 1000)))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return Whole(status, headers, orjson.dumps(body))


def broken(incident: str) -> Whole:
    """Something that must not happen did: nothing about it is shown but an id that the log has too."""
    text = f"Something went wrong here; the operator finds it in the log under {incident}."
    body = error_body(text, "api_error", "internal", None, None)
    return Whole(500, {"content-type": "application/json"}, orjson.dumps(body))
