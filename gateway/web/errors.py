"""The one table from a denial to an HTTP answer in the wire format spoken (CONTRACT.md section 5, rules 30 and 31).

A denial that waiting cannot cure says `x-should-retry: false` and carries no retry-after, so that stock SDKs and agents
stop and show it: a final one, and a failure of the upstream that only an administrator can mend.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.core.denial import Code, Denial
from gateway.core.retry_words import quiet_figures, quiet_words
from gateway.core.wire import anthropic_reply, bedrock_reply, gemini_reply
from gateway.core.wire.openai_reply import error_body
from gateway.pipeline.answer import Headers, Whole, remaining_words
from gateway.web.fronts import Front

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

_FINAL: Final = (
    *(
        Code.BUDGET_EXHAUSTED,
        Code.SESSION_BUDGET_EXHAUSTED,
        Code.LOOP_DETECTED,
        Code.SESSION_PAUSED,
        Code.SESSION_STOPPED,
    ),
    *(Code.SESSION_EXPIRED, Code.SESSION_LIMIT, Code.AGENT_STOPPED, Code.UPSTREAM_QUOTA),
)
_OF_POLICY: Final = (
    *(Code.MODEL_DENIED, Code.MODEL_UNKNOWN, Code.TOOL_DENIED, Code.FIELD_UNSUPPORTED, Code.PRICE_UNKNOWN),
)

_NOT_ALLOWED: Final = (Code.MODEL_DENIED, Code.MODEL_UNKNOWN, Code.TOOL_DENIED)
_OF_KEYS: Final = (Code.KEY_MISSING, Code.KEY_UNKNOWN, Code.KEY_EXPIRED, Code.KEY_DISABLED, Code.KEY_REVOKED)

STATUS_OF: Final[Mapping[Front, Mapping[Code, int]]] = {
    Front.OPENAI: STATUS,
    # Codex asks again five times after every 4xx but 400.
    Front.RESPONSES: {**STATUS, **dict.fromkeys(_FINAL, 400)},
    # Claude Code asks again six times after 400, without its beta features, and shows 403 at once.
    Front.ANTHROPIC: {**STATUS, **dict.fromkeys(_OF_POLICY, 403), Code.OVERLOADED: 529},
    Front.GEMINI: {**STATUS, **dict.fromkeys(_NOT_ALLOWED, 403)},
    Front.BEDROCK: {**STATUS, **dict.fromkeys((*_NOT_ALLOWED, *_OF_KEYS), 403)},
}

RESPONSES_RETRY_MAX_S = 30.0
"""Codex sleeps for as long as it is told."""
FAULT_RETRY_MAX_S = 1.0
"""Codex asks up to thirty times and waits each time as long as it is told: the pauses of a breaker would keep it for
minutes before a provider that is down. It gives up in half a minute so."""
_FAULTS = frozenset({Code.UPSTREAM_FAILED, Code.UPSTREAM_TIMEOUT, Code.UPSTREAM_INVALID})

_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    404: "not_found_error",
    429: "rate_limit_error",
    502: "upstream_error",
    503: "service_unavailable",
    504: "upstream_error",
}
_ANTHROPIC_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def refusal(denial: Denial, front: Front = Front.OPENAI, *, quiet: bool = False) -> Whole:
    """The answer to a refused call. `quiet` = for a client that asks again at numbers."""
    status = STATUS_OF[front][denial.code]
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
    else:
        wait_s = denial.retry_after_s
        if front is Front.RESPONSES:
            wait_s = min(wait_s, FAULT_RETRY_MAX_S if denial.code in _FAULTS else RESPONSES_RETRY_MAX_S)
        headers["retry-after"] = str(max(1, math.ceil(wait_s)))
        headers["retry-after-ms"] = str(max(1, math.ceil(wait_s * 1000)))
    if front is Front.BEDROCK:
        headers["x-amzn-errortype"] = bedrock_reply.ERROR_TYPES.get(status, "InternalServerException")
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return Whole(status, headers, orjson.dumps(_body(denial, status, front, quiet=quiet)))


def broken(incident: str, front: Front = Front.OPENAI) -> Whole:
    """Something that must not happen did: nothing about it is shown but an id that the log has too."""
    text = f"Something went wrong here; the operator finds it in the log under {incident}."
    if front is Front.ANTHROPIC:
        body = anthropic_reply.error_body(text, "api_error", None, None)
    elif front is Front.BEDROCK:
        body = bedrock_reply.error_body(text, "internal", None)
    elif front is Front.GEMINI:
        body = gemini_reply.error_body(text, 500, "internal", None, None)
    else:
        body = error_body(text, "api_error", "internal", None, None)
    return Whole(500, {"content-type": "application/json"}, orjson.dumps(body))


def _body(denial: Denial, status: int, front: Front, *, quiet: bool) -> Mapping[str, object]:
    message, call_id = denial.message, denial.call_id
    machine: Mapping[str, Any] = denial.machine()
    if quiet and denial.final:
        message, machine, call_id = quiet_words(message), quiet_figures(machine), None
    if front is Front.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error")
        return anthropic_reply.error_body(message, kind, machine, call_id)
    if front is Front.BEDROCK:
        return bedrock_reply.error_body(message, denial.code.value, machine)
    if front is Front.GEMINI:
        wait_s = None if denial.final else denial.retry_after_s
        return gemini_reply.error_body(message, status, denial.code.value, machine, wait_s)
    kind = _TYPES.get(status, "invalid_request_error")
    if front is Front.RESPONSES and denial.code in _FINAL:
        kind = _TYPES[402]  # what it is, whatever the status has to be
    return error_body(message, kind, denial.code.value, machine, denial.field)
