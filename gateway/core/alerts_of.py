"""The alerts that calls, sessions and reloads give rise to: kind, severity, words and figures of each."""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.alert import Alert, AlertKind, Fact, Severity
from gateway.core.attribution import Attribution
from gateway.core.denial import Code, Denial, amount_shown, time_shown
from gateway.core.identity import ABSENT
from gateway.core.ledger import Amounts
from gateway.core.quota_request import QuotaRequest
from gateway.core.session import SessionState
from gateway.core.stop import Stop

_OPERATORS: Final = frozenset({Code.UPSTREAM_QUOTA, Code.PRICE_UNKNOWN})
"""Denials that only an operator can end, whoever calls."""
_OF_CALLERS: Final = frozenset(
    {
        Code.REQUEST_MALFORMED,
        Code.REQUEST_TOO_LARGE,
        Code.FIELD_UNSUPPORTED,
        Code.MODEL_UNKNOWN,
        Code.SESSION_PAUSED,
        Code.SESSION_STOPPED,
        Code.AGENT_STOPPED,
        Code.IDEMPOTENCY_MISMATCH,
        Code.IDEMPOTENCY_REPLY_GONE,
    }
)
"""Denials that a caller brings about alone, or that an alert told of when they began."""
_WHO: Final = ("agent", "service", "app", "user", "key")


def who(attribution: Attribution) -> str:
    """Whom calls are laid to, typed: the agent if there is one, else the next that is known."""
    return next((f"{kind}:{name}" for kind in _WHO if (name := attribution.value(kind)) != ABSENT), "org:org")


def denial_alert(denial: Denial, attribution: Attribution, session_id: str, at_us: int) -> Alert:
    """Denials of one code and one subject are one alert in a window. The denial's own words may repeat what the caller
    sent, so they stay out."""
    limit, code = denial.limit, denial.code
    severity = Severity.WARNING
    if code in _OPERATORS:
        severity = Severity.CRITICAL
    elif not denial.final or code in _OF_CALLERS:
        severity = Severity.INFO
    subject = who(attribution)
    by = f" by limit {limit.name}" if limit is not None else f" by {denial.rule}" if denial.rule else ""
    facts = {
        "code": code.value,
        "call": denial.call_id,
        "session": session_id or None,
        "key": attribution.value("key"),
        "team": attribution.value("team"),
        "model": attribution.value("model"),
        "tool": attribution.value("tool"),
        "limit": None if limit is None else limit.name,
        "rule": denial.rule,
    }
    text = f"Calls of {subject} are refused{by}: {code.value}."
    dedupe = f"denials:{code.value}:{subject}:{'' if limit is None else limit.name}"
    return Alert(AlertKind.DENIALS, severity, subject, text, at_us, _known(facts), dedupe, attribution)


def loop_alert(denial: Denial, state: SessionState, attribution: Attribution, session_id: str, at_us: int) -> Alert:
    subject = who(attribution)
    text = f"Session {session_id} of {subject} runs in circles and was {state.value}; a person must look at it."
    facts = {
        "session": session_id,
        "state": state.value,
        "call": denial.call_id,
        "key": attribution.value("key"),
        "team": attribution.value("team"),
        "model": attribution.value("model"),
        "tool": attribution.value("tool"),
        **(denial.loop or {}),
    }
    return Alert(AlertKind.LOOP, Severity.WARNING, f"session:{session_id}", text, at_us, _known(facts), "", attribution)


def session_alert(
    state: SessionState, session_id: str, by: str, at_us: int, attribution: Attribution | None = None
) -> Alert:
    """A session was paused or stopped, `by` a limit or a person; what a person did is no news to warn of."""
    kind = AlertKind.SESSION_STOPPED if state is SessionState.STOPPED else AlertKind.SESSION_PAUSED
    severity = Severity.WARNING if by.startswith("limit ") else Severity.INFO
    whose = "" if attribution is None else f" of {who(attribution)}"
    text = f"Session {session_id}{whose} was {state.value} by {by}."
    facts = {"session": session_id, "state": state.value, "by": by}
    return Alert(kind, severity, f"session:{session_id}", text, at_us, facts, "", attribution)


def stop_alert(stop: Stop, shown: str) -> Alert:
    """All calls of somebody were paused or stopped by a person; `shown` is the name of whom."""
    kind = AlertKind.SESSION_STOPPED if stop.state is SessionState.STOPPED else AlertKind.SESSION_PAUSED
    subject = f"{stop.kind}:{shown}"
    text = f"All calls of {subject} were {stop.state.value} by {stop.actor}."
    facts = {"state": stop.state.value, "by": stop.actor}
    return Alert(kind, Severity.INFO, subject, text, stop.at_us, facts)


def overrun_alert(over: Amounts, posted: Amounts, attribution: Attribution, call_id: str, at_us: int) -> Alert:
    """A provider reported more than was held (rule 1)."""
    model = attribution.value("model")
    text = (
        f"A call of {who(attribution)} to model {model} cost more than its hold: the provider reported "
        f"{over.input_tokens + over.output_tokens} tokens and {over.usd_micros / 1_000_000:.6f} USD beyond it."
    )
    facts: dict[str, Fact] = {
        "call": call_id,
        "model": model,
        "over_input_tokens": over.input_tokens,
        "over_output_tokens": over.output_tokens,
        "over_usd_micros": over.usd_micros,
        "posted_usd_micros": posted.usd_micros,
    }
    dedupe = f"overrun:{model}:{who(attribution)}"
    return Alert(AlertKind.OVERRUN, Severity.WARNING, f"model:{model}", text, at_us, facts, dedupe, attribution)


def reload_alert(findings: Sequence[str], kept: str, at_us: int) -> Alert:
    """What is on disk was refused; `kept` is the policy version that stays in force."""
    first = findings[0].splitlines()[0] if findings else "unknown"
    text = f"Configuration and policy on disk were refused, the old ones stay in force: {first}"
    facts: dict[str, Fact] = {"findings": len(findings), "first": first[:500], "kept_policy": kept}
    return Alert(AlertKind.RELOAD_REFUSED, Severity.CRITICAL, "config", text, at_us, facts)


def request_alert(request: QuotaRequest, at_us: int) -> Alert:
    """More was asked for; without the asker's own words, which may repeat anything."""
    who_asks = request.subjects[0] if request.subjects else "somebody"
    more = f"{amount_shown(request.unit, request.amount)} {request.unit} more"
    text = (
        f"{who_asks} asks for {more} of limit {request.limit} for {request.scope} until "
        f"{time_shown(request.until_us)}: comptroller requests show {request.id}"
    )
    dedupe = f"request:{request.id}:waiting"
    facts = _request_facts(request)
    return Alert(AlertKind.REQUEST_WAITING, Severity.WARNING, f"limit:{request.limit}", text, at_us, facts, dedupe)


def decided_alert(request: QuotaRequest, at_us: int) -> Alert:
    """A request was approved, denied or withdrawn, or a raise was given unasked or taken back."""
    raised = "" if request.granted == 0 else f", {amount_shown(request.unit, request.granted)} {request.unit} more"
    text = f"Request {request.id} for limit {request.limit} and {request.scope} is {request.state.value}{raised}."
    dedupe = f"request:{request.id}:{request.state.value}"
    facts = _request_facts(request)
    return Alert(AlertKind.REQUEST_DECIDED, Severity.INFO, f"limit:{request.limit}", text, at_us, facts, dedupe)


def _request_facts(request: QuotaRequest) -> dict[str, Fact]:
    return {
        "request": request.id,
        "state": request.state.value,
        "limit": request.limit,
        "scope": request.scope,
        "unit": request.unit,
        "amount": amount_shown(request.unit, request.amount),
        "granted": amount_shown(request.unit, request.granted),
        "until": time_shown(request.ends_us or request.until_us),
        "session": request.session_id or None,
        "decided_by": request.decided_by or None,
    }


def ledger_alert(at_us: int, *, behind: bool) -> Alert:
    if behind:
        text = "The books cannot be written: new calls are refused until they can (disk full, or the file is locked)."
        return Alert(AlertKind.LEDGER_TROUBLE, Severity.CRITICAL, "ledger", text, at_us, {"behind": True})
    text = "The books can be written again; calls are let in."
    facts = {"behind": False}
    return Alert(AlertKind.LEDGER_TROUBLE, Severity.WARNING, "ledger", text, at_us, facts, "ledger:recovered")


def _known(facts: Mapping[str, str | None]) -> dict[str, Fact]:
    return {name: value for name, value in facts.items() if value is not None and value != ABSENT}
