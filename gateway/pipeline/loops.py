"""The loop check of a call: what its session's memory finds and what the rules make of that (rules 23, 24).

Graded: a note in the audit log, a warning in a header, a wait, a cheaper model, a pause, a stop. What is refused
carries the figures, for whoever asks why.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from gateway.core.alert import Alert, AlertKind, Severity
from gateway.core.attribution import Attribution
from gateway.core.call import Arrival
from gateway.core.denial import Code, Denial
from gateway.core.ledger import AdminChanged
from gateway.core.loop import Detector, Finding, LoopAction, Verdict, judge
from gateway.core.loop_memory import Sighting
from gateway.core.loop_text import Step, step_of
from gateway.core.session import SessionState
from gateway.core.tool import ToolAsk, ToolSaid
from gateway.pipeline.denied import LoopRefused
from gateway.pipeline.plane import Plane
from gateway.pipeline.reroute import Reroute
from gateway.pipeline.sessions import LiveSession
from gateway.pipeline.spending import recall
from gateway.pipeline.throttle import throttle
from gateway.pipeline.trace import tool_name

ACTOR = "loop detection"
TOO_MANY = 429
"""An upstream's answer that is no failure: whoever waits as it says is well behaved."""

UPSTREAM_FAULTS = frozenset({Code.UPSTREAM_FAILED, Code.UPSTREAM_INVALID, Code.UPSTREAM_QUOTA, Code.UPSTREAM_TIMEOUT})
RETRY_COUNT = "x-stainless-retry-count"
FIRST_WAIT_S = 1.0
_DOUBLINGS_MAX = 5


async def judge_model_call(
    plane: Plane, live: LiveSession, seen: Sighting, attribution: Attribution, *, impatient: bool
) -> list[str]:
    """Warnings for a header. Raises LoopRefused, Reroute, or Refused where it is to slow down or was paused."""
    now_us = plane.clock.now_us()
    findings = live.loops.judge_model(seen, now_us)
    if impatient:
        findings.append(Finding(Detector.ERRORS_IN_A_ROW, live.loops.upstream.count))
    _add_velocity(plane, live, attribution, findings, now_us)
    return await _answer(plane, live, findings, attribution, asks_model=attribution.model)


async def judge_tool_call(
    plane: Plane, live: LiveSession, ask: ToolAsk, digest: bytes, attribution: Attribution
) -> list[str]:
    """The same for a tool call on MCP. One that answers what its server asked back for was judged before."""
    if ask.resumes:
        return []
    now_us = plane.clock.now_us()
    findings = live.loops.judge_mcp(tool_name(ask.name), digest, ask.connection, now_us)
    _add_velocity(plane, live, attribution, findings, now_us)
    return await _answer(plane, live, findings, attribution, asks_model="")


class ToolWatch:
    """One MCP call between its judgement and its end. What was refused before it was sent is no step."""

    def __init__(self, ask: ToolAsk, digest: bytes) -> None:
        self._ask = ask
        self._digest = digest
        self.step: Step | None = None

    def sent(self) -> None:
        """From here a call that ends without an answer has failed."""
        self.step = Step(tool_name(self._ask.name), self._digest, failed=True)

    def answered(self, said: ToolSaid | None) -> None:
        name = tool_name(self._ask.name)
        self.step = (
            Step(name, self._digest)
            if said is None
            else step_of(name, self._digest, said.text, says_failed=said.failed)
        )


@contextmanager
def watched(live: LiveSession, ask: ToolAsk, digest: bytes, now_us: int) -> Iterator[ToolWatch]:
    """Counts the call in its session when it has ended; not one that is the twin of another under way, that only
    brings what its server asked back for, or whose caller left."""
    watch = ToolWatch(ask, digest)
    counts = live.loops.mcp_begins(digest, ask.connection, now_us) and not ask.resumes
    left = False
    try:
        yield watch
    except asyncio.CancelledError:
        left = True
        raise
    finally:
        live.loops.mcp_ended(digest, watch.step if counts and not left else None)


def is_impatient(live: LiveSession, arrival: Arrival, now_us: int) -> bool:
    """Whether a call comes sooner after a failed one than its client was told to wait, and is no retry of an SDK."""
    retries = arrival.headers.get(RETRY_COUNT, "0") != "0"
    return live.loops.upstream.impatient(now_us, retries=retries)


def retry_after_s(header: str | None) -> float | None:
    """How long an upstream said to wait; None where it said nothing, or a date."""
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:
        return None


def _add_velocity(
    plane: Plane, live: LiveSession, attribution: Attribution, findings: list[Finding], now_us: int
) -> None:
    rules = plane.catalog.loops
    if not rules.spend_velocity:
        return
    past, new = plane.spending.past(attribution)
    if new:
        bindings = plane.limiter.bindings(attribution, live.id, live.lineage)
        _ = plane.background.spawn(recall(plane.books, past, bindings, now_us))
    found = past.finding(now_us, rules.spend_velocity, rules.spend_velocity_from_usd_micros)
    if found is not None and not live.loops.spared(past.quarter(now_us)):
        findings.append(found)


async def _answer(
    plane: Plane, live: LiveSession, findings: Iterable[Finding], attribution: Attribution, *, asks_model: str
) -> list[str]:
    verdict = judge(findings, plane.catalog.loops)
    news = live.loops.is_news(verdict)
    if verdict is None:
        return []
    action = verdict.answer.action
    if action is LoopAction.ROUTE_TO and asks_model in ("", verdict.answer.model):
        action = LoopAction.WARN
    if news:
        _tell(plane, live, verdict, attribution)
    match action:
        case LoopAction.NOTE:
            return []
        case LoopAction.PAUSE | LoopAction.STOP:
            state = SessionState.STOPPED if action is LoopAction.STOP else SessionState.PAUSED
            text = f"This session {verdict.words()} and is {state.value}. Change the approach; a person must resume it."
            raise LoopRefused(Denial(Code.LOOP_DETECTED, text, loop=verdict.figures()), state)
        case LoopAction.ROUTE_TO:
            text = f"This session {verdict.words()}, and the cheaper model does not take the call. Change the approach."
            first = Denial(Code.LOOP_DETECTED, text, loop=verdict.figures())
            raise Reroute(verdict.answer.model, first, f"loop: this session {verdict.words()}")
        case LoopAction.THROTTLE:
            await throttle(live, _wait_s(verdict), _slow_down(verdict))
    return [f"loop: this session {verdict.words()}"]


def _wait_s(verdict: Verdict) -> float:
    """A second at the number, twice as long each time after it."""
    beyond = max(0, verdict.finding.times - verdict.number)
    return FIRST_WAIT_S * 2.0 ** min(beyond, _DOUBLINGS_MAX)


def _slow_down(verdict: Verdict) -> Denial:
    wait_s = _wait_s(verdict)
    text = f"This session {verdict.words()}. Slow down and change the approach; retry in {wait_s:g} s."
    return Denial(Code.RATE_LIMITED, text, retry_after_s=wait_s, loop=verdict.figures())


def _tell(plane: Plane, live: LiveSession, verdict: Verdict, attribution: Attribution) -> None:
    """An audit row, queued, and an alert for what interferes. What pauses or stops a session is written and told with
    the refusal."""
    action, now_us = verdict.answer.action, plane.clock.now_us()
    if action in (LoopAction.PAUSE, LoopAction.STOP):
        return
    plane.books.post(AdminChanged(now_us, ACTOR, f"loop.{action.value}", live.id, verdict.figures()))
    if action in (LoopAction.NOTE, LoopAction.WARN):
        return
    text = f"Session {live.id} {verdict.words()}: {action.value}."
    plane.alerts.post(
        Alert(
            AlertKind.LOOP,
            Severity.WARNING,
            f"session:{live.id}",
            text,
            now_us,
            facts=verdict.figures(),
            attribution=attribution,
        )
    )
