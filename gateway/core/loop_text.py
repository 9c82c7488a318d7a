"""What a text says beside what changes by itself, and what kind of answer a tool gave. Pure.

Ids, dates and times of day change with every call and mean no progress; other numbers may (a page, a percentage), so
they stay. Tools answer in all shapes; told apart here is only what loop detection must not confuse: `done` again and
again is work, `nothing found` again and again is not.
"""

import re
from enum import IntEnum
from typing import NamedTuple

from gateway.core.estimate import digest

PLAIN_BYTES_MAX = 2_048
"""Longer texts are compared as they are: reading them costs more than a loop of them is likely."""

_CANDIDATE = re.compile(rb"[0-9A-Fa-f][0-9A-Fa-f:T.Z+-]{7,}")
_CHANGING = re.compile(
    rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # UUID
    rb"|\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    rb"|\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"
    rb"|\d{10,19}(?:\.\d+)?"  # seconds, milli-, micro- or nanoseconds since 1970, long serial numbers
    rb"|(?=[0-9a-f]*\d)[0-9a-f]{12,64}",  # digests, trace and commit ids
    re.IGNORECASE,
)
_DIGITS = re.compile(rb"\d+")
_STANDS_FOR = b"\x00"


def without_changing(text: bytes) -> bytes:
    """The text with ids, dates and times taken out."""
    if len(text) > PLAIN_BYTES_MAX:
        return text
    return _CANDIDATE.sub(_changing, text)


def without_digits(text: bytes) -> bytes:
    """The text without ids, dates, times and all other numbers."""
    return _DIGITS.sub(_STANDS_FOR, without_changing(text)) if len(text) <= PLAIN_BYTES_MAX else text


def _changing(found: re.Match[bytes]) -> bytes:
    text = found.group().rstrip(b".:+-")
    tail = found.group()[len(text) :]
    return _STANDS_FOR + tail if _CHANGING.fullmatch(text) else found.group()


class ResultKind(IntEnum):
    """What an answer that came before means for progress. SHORT = a word or a figure that many calls may well share."""

    DONE = 0
    SHORT = 1
    LONG = 2
    EMPTY = 3


_HEAD = 240
_SHORT_MAX = 60
_FAILS_WITHIN = 120
_FAILED = re.compile(
    r"\W{0,3}(?:(?:[a-z]{1,30} ){0,2}[a-z.]{0,40}(?:error|exception|failure|fatal)(?: \w{1,30})?\s*[:(\[!]"
    r"|error\b(?=\W*$|\s+\w+ing\b)"
    r"|traceback \(most recent|(?:exit|return) code:? *[1-9]|command failed|failed to\b|cannot\b|could not\b"
    r"|unable to\b"
    r"|internal (?:server )?error|(?:request|call|tool|operation|query|connection|action|task) (?:\w{1,20} )?failed\b"
    r"|(?:http\S{0,4} |status )?(?:error )?[45]\d\d:? (?:internal|bad|not found|service|gateway|too many|unauth|forbid)"
    r"|permission denied|access denied|connection refused|time(?:d )?out\b|request timed|not allowed|unauthorized"
    r"|forbidden|tool '[^']*' is not allowed|invalid (?:argument|parameter|input|request)|<(?:tool_use_)?error>"
    r"|\{\s*\"(?:error|err|exception)\"\s*:(?!\s*(?:null|false|\"\"|\[\]|\{\}|0\b))"
    r"|\{[^{}]{0,80}\"(?:ok|success)\"\s*:\s*false|\{[^{}]{0,80}\"iserror\"\s*:\s*true"
    r"|\{[^{}]{0,80}\"status\"\s*:\s*\"(?:error|failed|failure)\")",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]+|[0-9]+|%|\[\s*\]")
_NONE = frozenset({"no", "0", "zero", "not", "without", "any", "[]"})
_BAD_THINGS = frozenset(
    {
        *("issue", "issues", "error", "errors", "problem", "problems", "warning", "warnings", "vulnerability"),
        *("vulnerabilities", "violation", "violations", "offenses", "conflict", "conflicts", "duplicate"),
        *("duplicates", "failure", "failures", "failed", "change", "changes", "finding", "findings"),
    }
)
_NOTHING = frozenset({"nothing", "empty", "null", "none", "nil", "unknown", "undefined", "missing"})
_DONE = frozenset(
    {
        *("ok", "okay", "done", "success", "successful", "successfully", "succeeded", "true", "updated"),
        *("created", "written", "wrote", "saved", "sent", "deleted", "removed", "inserted", "added", "appended"),
        *("edited", "applied", "complete", "completed", "passed", "accepted", "queued", "scheduled", "moved"),
        *("copied", "renamed", "committed", "stored", "uploaded", "published", "recorded", "modified"),
        *("acknowledged", "valid", "clean", "200", "201", "202", "204"),
    }
)


def reports_measure(text: str) -> bool:
    """Whether the numbers in an answer say how far something is: then another number is another answer. Else it is
    the same one with another serial number."""
    return not _MEASURES.isdisjoint(_WORD.findall(text.lower()))


def failed(text: str) -> bool:
    """Whether a tool's answer says, at its beginning, that the call failed."""
    return _FAILED.match(text, 0, _FAILS_WITHIN) is not None


def result_kind(head: str, length: int) -> ResultKind:
    """What an answer means that did not fail; `head` is how it begins."""
    if length > _HEAD:
        return ResultKind.LONG
    words = {word if word[0] != "[" else "[]" for word in _WORD.findall(head.lower())}
    none = not words.isdisjoint(_NONE)
    if none and not words.isdisjoint(_BAD_THINGS):
        return ResultKind.DONE
    if none or not words or not words.isdisjoint(_NOTHING):
        return ResultKind.EMPTY
    if not words.isdisjoint(_DONE):
        return ResultKind.DONE
    return ResultKind.SHORT if length <= _SHORT_MAX else ResultKind.LONG


_MEASURES = frozenset(
    {
        *("progress", "percent", "status", "state", "remaining", "left", "eta", "elapsed", "pending", "running"),
        *("queued", "queue", "waiting", "position", "price", "rate", "load", "usage", "used", "count", "total"),
        *("temperature", "balance", "level", "size", "seconds", "minutes", "ms", "done", "complete", "completed"),
        *("finished", "step", "phase", "version", "passed", "failed", "tests", "rows", "of", "score"),
        "%",
    }
)


class Step(NamedTuple):
    """One turn of a tool: which, with which arguments, what came back, as digests. `result` is empty where none was
    seen; it leaves numbers out, unless the answer measures something (`reports_measure`). `plain` leaves out only what
    changes by itself. `head` and `length` are of the answer's text."""

    tool: bytes
    call: bytes
    result: bytes = b""
    plain: bytes = b""
    failed: bool = False
    head: str = ""
    length: int = 0


def step_of(tool: bytes, call: bytes, text: str, *, says_failed: bool = False) -> Step:
    """`call` is the digest of the tool's name and arguments, `text` what it answered, `says_failed` what its protocol
    says about that."""
    raw = text.encode("utf-8", "surrogatepass")
    exact, plain = digest(raw), without_changing(raw)
    counts = len(text) > _HEAD or reports_measure(text)
    return Step(
        tool,
        call,
        exact if counts else digest(_DIGITS.sub(_STANDS_FOR, plain)),
        exact if plain == raw else digest(plain),
        says_failed or failed(text),
        text[:_HEAD],
        len(text),
    )
