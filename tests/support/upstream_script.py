"""What the scripted upstream is told to do for one request: `Script`, its presets and how a request picks one.

A request picks its script by, in this order: a rule set through the control endpoint; a marker in its text,
`[[mock {"events": 50, "pace_s": 0.01}]]`; its model name, `mock-<preset>`; else the usual reply.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

FAULTS = frozenset(
    {
        "none",
        # before the first byte of the reply
        "hang_before_headers",
        "close_before_headers",
        "rst_before_headers",
        "garbage_head",
        "head_half",
        "head_hang",
        # within the body, after `fault_after` parts (a body that is not streamed has two parts)
        "hang_mid_stream",
        "rst_mid_stream",
        "close_mid_stream",
        "half_close",
        "truncated_chunk",
        "bad_chunk",
        # the body as a whole
        "drip",
        "huge_line",
        "endless",
        # the connection after a complete reply
        "close_after_reply",
        "rst_next_request",
    }
)
USAGES = frozenset({"usual", "missing", "null", "zero", "negative", "double", "in_choice", "each", "late"})

_MARKER = re.compile(r"\[\[mock (\{.*?\})\]\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Script:
    """One scripted behaviour; every field has a default, so a script names only what differs from the usual reply."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()  # sent beside the usual ones, in this order
    head_raw: str | None = None  # the whole head verbatim (latin-1), for injection cases
    delay_s: float = 0.0  # before the head
    waits: bool = False  # before the head, until the test says so
    text: str | None = None  # the reply's text; one content event a word
    events: int = 5  # content events (= words = completion tokens a choice) where `text` is not given
    pace_s: float = 0.0  # before every content event, or every byte of a drip
    obey_cap: bool = True  # end with `length` at max_tokens / max_completion_tokens
    finish_reason: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()  # {"name": ..., "arguments": {...}}
    usage: str | Mapping[str, Any] = "usual"  # one of USAGES, or the object to send
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    body: str | None = None  # the whole body verbatim
    raw: tuple[str, ...] | None = None  # a streamed body verbatim, one chunk each
    content_type: str | None = None
    fault: str = "none"
    fault_after: int = 2
    huge_bytes: int = 10 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise ValueError(f"unknown fault {self.fault!r}")
        if isinstance(self.usage, str) and self.usage not in USAGES:
            raise ValueError(f"unknown usage {self.usage!r}")


def _error(status: int, kind: str, code: str, *headers: tuple[str, str]) -> Script:
    error = {"error": {"message": f"scripted {code}", "type": kind, "param": None, "code": code}}
    return Script(status=status, headers=headers, body=json.dumps(error))


PRESETS: Mapping[str, Script] = {
    "mock-ok": Script(),
    "mock-slow": Script(delay_s=0.3, pace_s=0.05),
    "mock-long": Script(events=500),
    "mock-usage-missing": Script(usage="missing"),
    "mock-usage-null": Script(usage="null"),
    "mock-usage-zero": Script(usage="zero"),
    "mock-usage-negative": Script(usage="negative"),
    "mock-usage-double": Script(usage="double"),
    "mock-usage-in-choice": Script(usage="in_choice"),
    "mock-usage-each": Script(usage="each"),
    "mock-usage-late": Script(usage="late"),
    "mock-hang": Script(fault="hang_before_headers"),
    "mock-close": Script(fault="close_before_headers"),
    "mock-rst": Script(fault="rst_before_headers"),
    "mock-garbage": Script(fault="garbage_head"),
    "mock-head-half": Script(fault="head_half"),
    "mock-hang-mid": Script(fault="hang_mid_stream"),
    "mock-rst-mid": Script(fault="rst_mid_stream"),
    "mock-close-mid": Script(fault="close_mid_stream"),
    "mock-half-close": Script(fault="half_close"),
    "mock-truncated-chunk": Script(fault="truncated_chunk"),
    "mock-bad-chunk": Script(fault="bad_chunk"),
    "mock-drip": Script(fault="drip", pace_s=0.005),
    "mock-huge-line": Script(fault="huge_line"),
    "mock-endless": Script(fault="endless", pace_s=0.001),
    "mock-close-after": Script(fault="close_after_reply"),
    "mock-rst-next": Script(fault="rst_next_request"),
    "mock-401": _error(401, "invalid_request_error", "invalid_api_key"),
    "mock-403": _error(403, "invalid_request_error", "forbidden"),
    "mock-400": _error(400, "invalid_request_error", "bad_field"),
    "mock-429": _error(429, "requests", "rate_limit_exceeded", ("retry-after", "2")),
    "mock-429-date": _error(429, "requests", "rate_limit_exceeded", ("retry-after", "Wed, 21 Oct 2099 07:28:00 GMT")),
    "mock-quota": _error(429, "insufficient_quota", "insufficient_quota"),
    "mock-500": _error(500, "server_error", "server_error"),
    "mock-503": _error(503, "server_error", "overloaded", ("retry-after", "1")),
    "mock-html": Script(body="<!doctype html><html><body>hello</body></html>", content_type="text/html"),
    "mock-empty": Script(body=""),
    "mock-bad-json": Script(body='{"id": "x", "choices": ['),
    "mock-wrong-json": Script(body='["not", "a", "completion"]'),
    "mock-huge-headers": Script(headers=(("x-filler", "f" * 200_000),)),
    "mock-cookies": Script(
        headers=(
            ("set-cookie", "session=stolen; Path=/"),
            ("set-cookie", "b=2"),
            ("x-request-id", "req_mock_1"),
            ("openai-processing-ms", "12"),
            ("openai-organization", "org-mock"),
            ("x-ratelimit-remaining-requests", "99"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
        )
    ),
    "mock-redirect": Script(status=302, headers=(("location", "http://127.0.0.1:9/elsewhere"),), body=""),
    "mock-gzip": Script(headers=(("content-encoding", "gzip"),), body="not really gzip"),
    "mock-inject": Script(text='line\n\ndata: {"forged": true}\n\nevent: error\r\ndata: [DONE] end'),
    "mock-tool": Script(tool_calls=({"name": "lookup", "arguments": {"query": "x"}},)),
}


@dataclass(slots=True)
class Rule:
    """A script set through the control endpoint, for requests that match, `times` times (None: always)."""

    script: Script
    model: str | None = None
    contains: str | None = None
    times: int | None = None

    def matches(self, model: str | None, body_text: str) -> bool:
        if self.times == 0:
            return False
        return (self.model is None or self.model == model) and (self.contains is None or self.contains in body_text)


@dataclass(slots=True)
class Chooser:
    """Holds the rules and picks the script of a request. Rules are tried newest first."""

    rules: list[Rule] = field(default_factory=list)

    def pick(self, model: str | None, body_text: str, user_text: str) -> Script:
        for rule in reversed(self.rules):
            if rule.matches(model, body_text):
                if rule.times is not None:
                    rule.times -= 1
                return rule.script
        base = PRESETS.get(model or "", Script())
        marker = _MARKER.search(user_text)
        return script_of(json.loads(marker.group(1)), base) if marker else base


def script_of(fields: Mapping[str, Any], base: Script | None = None) -> Script:
    """The script that JSON fields describe, over `base` or over the preset named by `preset`. Raises ValueError."""
    changes = dict(fields)
    preset = changes.pop("preset", None)
    start = PRESETS[preset] if preset else base or Script()
    for name in ("headers", "tool_calls", "raw"):
        if changes.get(name) is not None:
            changes[name] = tuple(tuple(item) if isinstance(item, list) else item for item in changes[name])
    try:
        return replace(start, **changes)
    except TypeError as exc:
        raise ValueError(str(exc)) from exc
